"""What Holdfast computes, written down before a large change and compared after it, number by
number.

    # some minutes on one core; add --claims for every claim's quick verdict
    python benchmarks/behavior.py record before.json
    ... move code ...
    python benchmarks/behavior.py record after.json
    python benchmarks/behavior.py compare before.json after.json --renamed flip=flip_rate

Recorded, on models, tokenizers and rows made on the spot (CPU, one thread, fixed seeds):

    methods     losses and a hash of the final weights of one short run of each method of the table
    rewards     likewise of each kind of reward model
    selfplay    the numbers of two rounds
    evaluate    the JSON of a policy on three files
    check       the JSON of three files
    pages       the words of the tables of the pages that those wrote
    claims      the numbers and verdicts of every claim on its first few seeds, with --claims

`compare` flattens both files into paths and lists what differs, what is gone and what is new. Exit
status 1 where a value differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

WORDS = (
    *(
        "the",
        "a",
        "cat",
        "dog",
        "bird",
        "tree",
        "mat",
        "hill",
        "sat",
        "ran",
        "saw",
        "said",
        "on",
        "under",
        "and",
    ),
    *("red", "blue", "happy", "sad", "very", "quick", "slow", "yes", "no", "why", "because"),
)
RATERS = ("ann", "bob", "eve")
STEPS, BATCH = 3, 8


# ------------------------------------------------------------ what is run on


def sentence(rng: random.Random, low: int, high: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))


def pairs(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Comparisons with every column that a method may read; one in five labels is flipped."""
    rng = random.Random(seed)
    rows = []
    for i in range(count):
        good, bad = f"cat {sentence(rng, 1, 8)}", sentence(rng, 2, 8).replace("cat", "dog")
        if rng.random() < 0.2:
            good, bad = bad, good
        rows.append(
            {
                "prompt": f"{sentence(rng, 2, 10)} {i % (count * 2 // 3)}",
                "chosen": good,
                "rejected": bad,
                "group": "abc"[i % 3],
                "rater": RATERS[i % 3],
                "confidence": 0.6 + 0.1 * (i % 4),
                "reward_gap": 0.5 + 0.1 * (i % 7),
                "rationale": sentence(rng, 3, 8),
                "earlier_gap": 0.3 - 0.1 * (i % 5),
                "chosen_first": i % 2 == 0,
                "strength": 1 + i % 3,
                **{
                    f"{side}_{name}": value
                    for side, at in (("chosen", 0.7), ("rejected", 0.4))
                    for name, value in columns(at, i)
                },
            }
        )
    return rows


def columns(at: float, i: int) -> list[tuple[str, float]]:
    rate = at + 0.05 * (i % 4)
    return [
        ("win_rate", rate),
        ("earlier_win_rate", rate - 0.1),
        ("log_odds", 2 * (rate - 0.5)),
        ("score", 3 * rate),
    ]


def matches(count: int, seed: int = 2) -> list[dict[str, Any]]:
    """Names that met: six of them along one ranking, with noise."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        first, second = rng.sample(range(6), 2)
        first_won = rng.random() < 1 / (1 + 2.0 ** (first - second))
        rows.append(
            {
                "winner": f"m{first if first_won else second}",
                "loser": f"m{second if first_won else first}",
            }
        )
    return rows


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make_model(folder: Path) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    rng = random.Random(0)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator([sentence(rng, 3, 12) for _ in range(200)], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).eval().save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


# ------------------------------------------------------------ what is recorded


def record(out: Path, claims: bool) -> None:
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        scratch = Path(made)
        model = make_model(scratch / "model")
        data = write_rows(scratch / "pairs.jsonl", pairs(24))
        parts: dict[str, Callable[[], Any]] = {
            "methods": lambda: methods(model, data, scratch),
            "rewards": lambda: rewards(model, data, scratch),
            "selfplay": lambda: rounds(model, data, scratch),
            "evaluate": lambda: evaluate(model, scratch),
            "check": lambda: check(scratch),
            "pages": lambda: {
                page.parent.name: tables(page) for page in sorted(scratch.rglob("report.html"))
            },
        }
        if claims:
            parts["claims"] = every_claim
        found = {}
        for name, part in parts.items():
            print(f"{name} ...", flush=True)
            found[name] = without_paths(part(), scratch)
    out.write_text(json.dumps(found, indent=1, sort_keys=True, default=str), encoding="utf-8")
    print(f"wrote {out}: {sum(1 for _ in flat(found))} values")


def methods(model: Path, data: Path, scratch: Path) -> dict[str, Any]:
    import holdfast
    from holdfast.methods import METHODS

    def one(name: str) -> dict[str, Any]:
        out = scratch / "runs" / name
        holdfast.train(
            name,
            model=model,
            data=data,
            out=out,
            max_steps=STEPS,
            batch_size=BATCH,
            learning_rate=1e-3,
        )
        return run_of(out)

    return {name: tried(one, name) for name in METHODS}


def rewards(model: Path, data: Path, scratch: Path) -> dict[str, Any]:
    import holdfast
    from holdfast.rewards import REWARDS

    def one(name: str) -> dict[str, Any]:
        out = scratch / "rewards" / name
        holdfast.train_reward(
            name,
            model=model,
            data=data,
            out=out,
            max_steps=STEPS,
            batch_size=BATCH,
            learning_rate=1e-3,
        )
        return run_of(out)

    return {name: tried(one, name) for name in REWARDS}


def rounds(model: Path, data: Path, scratch: Path) -> Any:
    from holdfast.training.selfplay.selfplay import selfplay

    def one(name: str) -> Any:
        played = selfplay(
            name,
            model=model,
            data=data,
            judge=likes_length,
            out=scratch / f"selfplay-{name}",
            rounds=2,
            samples=4,
            prompts=8,
            watched=4,
            max_new_tokens=8,
            max_steps=2,
            batch_size=4,
            learning_rate=1e-4,
            progress=False,
        )
        record = played.record
        return {
            "standings": record["results"]["standings"],
            "draws": [entry["drawn"] for entry in record["rounds"]],
            "losses": [entry["losses"] for entry in record["rounds"]],
            **run_of(played.out),
        }

    return {name: tried(one, name) for name in ("gpo", "dpo")}


def likes_length(prompts: list[Any], first: list[Any], second: list[Any]) -> list[float]:
    """A judge that prefers the longer answer."""
    gap = (len(str(a)) - len(str(b)) for a, b in zip(first, second, strict=True))
    return [0.5 + 0.4 * max(-1, min(1, x / 5)) for x in gap]


def evaluate(model: Path, scratch: Path) -> dict[str, Any]:
    import holdfast

    out = scratch / "runs" / "dpo"
    single = [
        {"prompt": r["prompt"], "completion": r["chosen"], "label": i % 2 == 0}
        for i, r in enumerate(pairs(16, 5))
    ]
    ranked = [
        {"prompt": r["prompt"], "answers": [r["chosen"], r["rejected"], "dog"], "scores": [3, 2, 1]}
        for r in pairs(12, 6)
    ]
    files = {"pairs": pairs(24, 3), "single": single, "ranked": ranked}
    return {
        name: tried(
            lambda name: holdfast.evaluate(
                out, data=write_rows(scratch / f"{name}.jsonl", files[name])
            ).to_dict(),
            name,
        )
        for name in files
    }


def check(scratch: Path) -> dict[str, Any]:
    import holdfast

    plain = [{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in pairs(200, 8)]
    files = {"annotated": pairs(300, 7), "plain": plain, "matches": matches(200)}

    def one(name: str) -> Any:
        return holdfast.check(
            write_rows(scratch / f"check-{name}.jsonl", files[name]), out=scratch / f"check-{name}"
        ).to_dict()

    return {name: tried(one, name) for name in files}


def every_claim() -> dict[str, Any]:
    from holdfast.lab.claim import papers
    from holdfast.lab.runner import run

    def told(result: Any) -> dict[str, Any]:
        values = {f"{dict(cell.point)} {cell.arm}": cell.values for cell in result.found.cells}
        return {"says": result.claim.says, "verdict": result.ruling.verdict, "values": values}

    with tempfile.TemporaryDirectory() as cache:
        results = run(papers(), quick=True, workers=1, folder=Path(cache))
    return {name: [told(result) for result in found] for name, found in results.items()}


def tried(what: Callable[[str], Any], name: str) -> Any:
    """What came of it; of what is refused, the sentence."""
    from holdfast.errors import HoldfastError

    try:
        return what(name)
    except HoldfastError as error:
        return {"refused": str(error)}


def run_of(out: Path) -> dict[str, Any]:
    """Every number of a run's log but times, and the hash of its weights."""
    lines = [
        json.loads(line)
        for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return {
        "metrics": [{k: v for k, v in line.items() if not TIMED.search(k)} for line in lines],
        "weights": weights(out),
    }


TIMED = re.compile(r"second|time|memory|speed|tokens_per|examples_per|throughput|eta", re.I)


def weights(out: Path) -> str:
    from safetensors.torch import load_file

    digest = hashlib.sha256()
    for path in sorted((out / "model").glob("*.safetensors")):
        for name, tensor in sorted(load_file(path).items()):
            digest.update(name.encode() + tensor.contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()


class Tables(HTMLParser):
    """The words of every table, cell by cell."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[str]] = []
        self.inside = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "table":
            self.tables.append([])
        if tag in ("td", "th"):
            self.inside += 1
            self.tables[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.inside -= 1

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.tables[-1][-1] += data


def tables(page: Path) -> list[list[str]]:
    """Every table but those of times."""
    reader = Tables()
    reader.feed(page.read_text(encoding="utf-8"))
    cells = ([" ".join(cell.split()) for cell in table] for table in reader.tables)
    return [table for table in cells if not any(TIMED.search(cell) for cell in table)]


def without_paths(value: Any, scratch: Path) -> Any:
    """The same with the scratch folder's name taken out of every text, and times of day."""
    if isinstance(value, dict):
        return {
            str(k): without_paths(v, scratch) for k, v in value.items() if not TIMED.search(str(k))
        }
    if isinstance(value, (list, tuple)):
        return [without_paths(v, scratch) for v in value]
    if isinstance(value, str):
        return re.sub(
            r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d\S*", "(a time)", value.replace(str(scratch), "(scratch)")
        )
    return value


# ------------------------------------------------------------ what is compared


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from flat(inner, f"{path}/{i}")
    else:
        yield path, value


def compare(before: Path, after: Path, renamed: dict[str, str], shown: int) -> int:
    """How many values differ. Paths are compared after renaming `before`'s keys."""

    def new_name(path: str) -> str:
        return "/".join(renamed.get(key, key) for key in path.split("/"))

    old = {
        new_name(path): value
        for path, value in flat(json.loads(before.read_text(encoding="utf-8")))
    }
    new = dict(flat(json.loads(after.read_text(encoding="utf-8"))))
    changed = [path for path in old if path in new and not same(old[path], new[path])]
    gone, added = (
        [path for path in old if path not in new],
        [path for path in new if path not in old],
    )
    for title, paths in (("differs", changed), ("gone", gone), ("new", added)):
        print(f"{title}: {len(paths)}")
        for path in paths[:shown]:
            print(f"  {path}: {old.get(path, '')!r} -> {new.get(path, '')!r}")
    print(
        json.dumps(
            {
                "equal": len(old) - len(changed) - len(gone),
                "differs": len(changed),
                "gone": len(gone),
                "new": len(added),
            }
        )
    )
    return len(changed)


def same(a: Any, b: Any) -> bool:
    return a == b or (a != a and b != b)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    recording = verbs.add_parser("record", help="write down what is computed")
    recording.add_argument("out", type=Path)
    recording.add_argument(
        "--claims",
        action="store_true",
        help="every claim on its first few seeds, too: about an hour of one core",
    )
    comparing = verbs.add_parser("compare", help="list what differs")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    comparing.add_argument(
        "--renamed",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="a key that has another name now; repeatable",
    )
    comparing.add_argument(
        "--shown", type=int, default=20, help="how many paths of each kind to print"
    )
    asked = parser.parse_args()
    if asked.verb == "record":
        record(asked.out, asked.claims)
        return
    renamed = dict(pair.split("=", 1) for pair in asked.renamed)
    sys.exit(1 if compare(asked.before, asked.after, renamed, asked.shown) else 0)


if __name__ == "__main__":
    main()
