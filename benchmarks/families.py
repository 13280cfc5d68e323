"""Every causal-LM family of the installed transformers, scored and trained here, against one plain
forward an answer.

    python benchmarks/families.py [FAMILY ...] [--jobs 2] [--seconds 240] [--results FILE] [--docs
    docs/families.md]

Each family is built small from its config class (`small_configs.py`), in the settings that it comes
in, and saved as a folder. The oracle knows nothing of this library: it loads the folder in float32
and runs one forward for each answer, alone, without padding or mask. It is held against

    score      log-probabilities of each response token under a policy and a reference by
               `holdfast.score`, and a gradient of theirs
    train dpo  at learning rate 0, batch by batch: each loss is ln 2, log-probabilities and
               gradient norms are the oracle's
    reference  the loss of a Llama policy whose reference is this family
    generate   greedy answers to prompts of several lengths, token by token what the oracle finds
               most probable

Rows are longer and shorter than sliding windows, and on both sides of the length where a rope
changes its factors; the longest come after the first batch. Each case runs in a process of its own,
bounded in time and memory. The last line is JSON; a family counts as the worst of its cases: wrong,
refused (an error of ours, by name), fell back (padded forwards instead of packed ones), packed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import multiprocessing.connection
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
sys.path.insert(0, str(Path(__file__).parent))

import torch
from small_configs import (
    EOS,
    PAD,
    POSITIONS,
    VOCABULARY,
    NotBuiltError,
    Variant,
    build,
    families,
    variants,
)
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

import holdfast
from holdfast.data import tokenize
from holdfast.errors import HoldfastError
from holdfast.generation import Generation, HuggingFaceGenerator
from holdfast.training.batching import rows_of_step

NATS, RELATIVE = (
    1e-3,
    1e-2,
)  # float32 rounding explains less: of a token's log-probability, and of a gradient's or its norm
ROWS, BATCH, BETA, MEMORY_GIB = 12, 4, 0.5, 16
ORDER = ("packed", "fell back", "refused", "wrong")


@dataclass
class Finding:
    """What came out of one family in one setting."""

    case: str
    family: str
    outcome: str = ""  # one of ORDER, or "not built"
    nats: float = math.nan  # largest difference of a token's log-probability from the oracle's
    gradient: float = math.nan  # largest relative difference of a gradient, or of its norm
    wrong: list[str] = field(default_factory=list)
    reason: str = ""  # why not built, refused or fell back
    generated: str = ""  # how answers were generated, a name of the generator's WAYS
    seconds: float = 0.0

    def worse(self, what: str, difference: float, limit: float, kind: str) -> None:
        before = getattr(self, kind)
        setattr(
            self, kind, difference if math.isnan(before) or not difference <= before else before
        )
        if not difference <= limit:
            self.wrong.append(f"{what} off by {difference:.3g}")


# ------------------------------------------------------------ rows


def tokenizer() -> PreTrainedTokenizerFast:
    """Token i is the word `wi`."""
    names = ["<unk>", "<s>", "</s>", "<pad>"]
    words = {
        name: i for i, name in enumerate(names + [f"w{i}" for i in range(len(names), VOCABULARY)])
    }
    core = Tokenizer(WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=256,
    )


def rows(seed: int = 0) -> list[dict[str, str]]:
    """Comparisons of random words: all shorter than a sliding window, but for four that the first
    batch of training does not hold.
    """
    rng = random.Random(seed)
    first = set(rows_of_step(0, rows=ROWS, batch_size=BATCH, seed=0))
    long = [i for i in range(ROWS) if i not in first][:4]

    def text(low: int, high: int) -> str:
        return " ".join(f"w{rng.randrange(4, VOCABULARY)}" for _ in range(rng.randint(low, high)))

    made = []
    for i in range(ROWS):
        prompt = text(20, 30) if i in long else text(2, 3)
        answers = [text(25, 45), text(3, 40)] if i in long else [text(2, 4), text(1, 4)]
        rng.shuffle(answers)
        made.append({"prompt": prompt, "chosen": " " + answers[0], "rejected": " " + answers[1]})
    return made


# ------------------------------------------------------------ the oracle


class Oracle:
    """One forward an answer: no padding, no mask, no cache, float32."""

    def __init__(self, folder: Path):
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def logits_LV(self, ids: Sequence[int]) -> Tensor:
        """Logits of one sequence. Dynamic rope remembers the longest sequence it has seen until it
        sees a short one.
        """
        with torch.no_grad():
            self.model(input_ids=torch.tensor([[EOS]]), use_cache=False)
        logits_LV: Tensor = (
            self.model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0].float()
        )
        return logits_LV

    def logp_T(self, prompt: Sequence[int], answer: Sequence[int]) -> Tensor:
        """log p of each token of the answer, nats."""
        logp_TV = self.logits_LV([*prompt, *answer])[len(prompt) - 1 : -1].log_softmax(-1)
        return logp_TV.gather(1, torch.tensor(answer)[:, None])[:, 0]

    def answers(self, items: Sequence[Any]) -> list[dict[str, Tensor]]:
        return [
            {name: self.logp_T(item.prompt, item.answers[name]) for name in item.answers}
            for item in items
        ]

    def router_loss(self, items: Sequence[Any]) -> Tensor | float:
        """The load-balancing loss of a mixture of experts times its coefficient, by the model's own
        function; 0 where none is asked for.
        """
        coefficient = getattr(self.model, "router_aux_loss_coef", None) or getattr(
            self.model, "aux_loss_coef", None
        )
        if not coefficient or not getattr(
            self.model.config.get_text_config(), "output_router_logits", False
        ):
            return 0.0
        sequences = [[*item.prompt, *item.answers[name]] for item in items for name in item.answers]
        found = [
            self.model(
                input_ids=torch.tensor([ids]), output_router_logits=True, use_cache=False
            ).router_logits
            for ids in sequences
        ]
        layers = tuple(
            torch.cat([x.reshape(-1, x.shape[-1]) for x in layer])
            for layer in zip(*found, strict=True)
        )
        of_family = sys.modules[type(self.model).__module__].load_balancing_loss_func
        return coefficient * of_family(
            layers, self.model.num_experts, self.model.num_experts_per_tok
        )

    def gradient(self, loss: Tensor) -> dict[str, Tensor]:
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        return gradient_of(self.model)

    @torch.no_grad()
    def peeks(self) -> float:
        """How far the log-probabilities of an answer move when only what comes after it changes: 0
        of a causal model.
        """
        prompt, answer, more = list(range(10, 16)), list(range(20, 30)), [40, 41, 42]
        logp_T = self.logp_T(prompt, answer)
        return float((self.logp_T(prompt, answer + more)[: len(answer)] - logp_T).abs().max())


def gradient_of(model: Any) -> dict[str, Tensor]:
    return {
        name: p.grad.detach().clone() for name, p in model.named_parameters() if p.grad is not None
    }


def relative(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """||ours - theirs|| / ||theirs|| over all weights; a weight without a gradient has one of
    zero.
    """
    zero = torch.zeros(())
    off = sum(
        float((ours.get(name, zero) - theirs.get(name, zero)).double().square().sum())
        for name in ours.keys() | theirs.keys()
    )
    return math.sqrt(off) / max(norm(theirs), 1e-12)


def norm(gradient: dict[str, Tensor]) -> float:
    return math.sqrt(sum(float(x.double().square().sum()) for x in gradient.values()))


def dpo_loss(policy: dict[str, Tensor], reference: dict[str, Tensor]) -> Tensor:
    margin = sum(
        sign * (policy[name].sum() - reference[name].sum().detach())
        for name, sign in (("chosen", 1), ("rejected", -1))
    )
    return -torch.nn.functional.logsigmoid(BETA * margin)


# ------------------------------------------------------------ what is held against it


@contextlib.contextmanager
def packed_forwards(model: Any, longest: int) -> Iterator[list[bool]]:
    """For each forward of the decoder whether it held more than one answer in a row: seen from
    outside, whatever the library says.
    """
    seen: list[bool] = []

    def look(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        if torch.is_tensor(ids) and ids.ndim == 2 and ids.shape[1] > 1:
            seen.append(ids.shape[0] == 1 and ids.shape[1] > longest)

    handles = [
        module.register_forward_pre_hook(look, with_kwargs=True)
        for module in {model, model.base_model}
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def check_score(
    finding: Finding, folders: tuple[Path, Path], data: Sequence[Any], words: Any
) -> str:
    """`holdfast.score`: log-probabilities of both models, and a gradient."""
    rows = holdfast.read(list(data))
    items = tokenize(rows, words).items
    oracle, reference_oracle = (Oracle(folder) for folder in folders)
    policy, reference = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        for folder in folders
    )
    longest = max(len(item.prompt) + len(ids) for item in items for ids in item.answers.values())
    with packed_forwards(policy, longest) as seen:
        pairs = holdfast.score(policy, words, rows, reference=reference)
    expected = oracle.answers(items)
    with torch.no_grad():
        expected_reference = reference_oracle.answers(items)
    worst = worst_reference = 0.0
    ours_loss, loss = torch.zeros(()), torch.zeros(())
    generator = torch.Generator().manual_seed(1)
    for name, part in (("chosen", pairs.chosen), ("rejected", pairs.rejected)):
        for n, (right, right_reference) in enumerate(
            zip(expected, expected_reference, strict=True)
        ):
            length = len(right[name])
            if int(part.mask_NT[n].sum()) != length:
                finding.wrong.append(f"{int(part.mask_NT[n].sum())} tokens of {length} scored")
                return "wrong"
            ours, theirs = part.logp_NT[n, :length], part.ref_logp_NT[n, :length]
            worst = nan_max(worst, (ours - right[name]).detach().abs().max())
            worst_reference = nan_max(worst_reference, (theirs - right_reference[name]).abs().max())
            slope_T = torch.randn(length, generator=generator)
            ours_loss, loss = (
                ours_loss + (slope_T * ours).sum(),
                loss + (slope_T * right[name]).sum(),
            )
    finding.worse("score: log-probabilities", worst, NATS, "nats")
    finding.worse("score: reference", worst_reference, NATS, "nats")
    policy.zero_grad(set_to_none=True)
    ours_loss.backward()
    finding.worse(
        "score: gradient",
        relative(gradient_of(policy), oracle.gradient(loss)),
        RELATIVE,
        "gradient",
    )
    return "packed" if any(seen) else "fell back"


def nan_max(a: float, b: Tensor) -> float:
    """The larger one, and NaN once there is any."""
    return float(b) if not float(b) <= a else a


def check_train(finding: Finding, folder: Path, data: Path, items: Sequence[Any], out: Path) -> str:
    """`train dpo` at learning rate 0."""
    how = {
        "batch_size": BATCH,
        "epochs": 2,
        "learning_rate": 0.0,
        "beta": BETA,
        "max_grad_norm": 0.0,
        "tokens_per_microbatch": 150,
    }
    how["max_tokens"] = (
        POSITIONS  # also where a rope is stretched beyond the positions that the config names
    )
    run = holdfast.train(
        "dpo",
        model=folder,
        tokenizer=data.parent / "words",
        data=data,
        eval_data=data,
        out=out,
        **how,
    )
    oracle = Oracle(folder)
    losses = [line["loss"] for line in run.metrics if "loss" in line] + [
        line["eval/loss"] for line in run.metrics if "eval/loss" in line
    ]
    finding.worse(
        "train: loss at learning rate 0",
        max((abs(x - math.log(2)) for x in losses), key=nan_last),
        BETA * NATS,
        "nats",
    )
    with torch.no_grad():
        expected = oracle.answers(items)
    evaluated = next(line for line in run.metrics if "eval/loss" in line)
    for name in ("chosen", "rejected"):
        right = sum(float(answers[name].mean()) for answers in expected) / len(items)
        finding.worse(
            f"train: mean of {name}",
            abs(evaluated[f"eval/logps_per_token/{name}"] - right),
            NATS,
            "nats",
        )
    for line in (line for line in run.metrics if "loss" in line and line["step"] <= ROWS // BATCH):
        batch = [
            items[i] for i in rows_of_step(line["step"] - 1, rows=ROWS, batch_size=BATCH, seed=0)
        ]
        answers = oracle.answers(batch)
        loss = torch.stack([dpo_loss(each, each) for each in answers]).mean() + oracle.router_loss(
            batch
        )
        right = norm(oracle.gradient(loss))
        finding.worse(
            f"train: gradient norm of step {line['step']}",
            abs(line["grad_norm"] / right - 1),
            RELATIVE,
            "gradient",
        )
    scoring = run.record["scoring"]
    if scoring.get("reason"):
        finding.reason = str(scoring["reason"])
    return "packed" if scoring["used"] == "packed" else "fell back"


def nan_last(x: float) -> tuple[bool, float]:
    return math.isnan(x), x


def check_as_reference(
    finding: Finding, folders: tuple[Path, Path], data: Path, items: Sequence[Any], out: Path
) -> None:
    """The first loss of a Llama policy whose reference is this family."""
    llama, other = folders
    how = {
        "batch_size": ROWS,
        "max_steps": 1,
        "beta": BETA,
        "learning_rate": 0.0,
        "max_tokens": POSITIONS,
    }
    run = holdfast.train(
        "dpo",
        model=llama,
        reference=other,
        tokenizer=data.parent / "words",
        data=data,
        out=out,
        **how,
    )
    with torch.no_grad():
        policy, reference = (Oracle(folder).answers(items) for folder in (llama, other))
    right = float(
        torch.stack([dpo_loss(*each) for each in zip(policy, reference, strict=True)]).mean()
    )
    loss = next(line["loss"] for line in run.metrics if "loss" in line)
    finding.worse("as a reference: loss", abs(loss - right), BETA * NATS, "nats")


def check_generate(finding: Finding, folder: Path, words: Any) -> None:
    """Greedy answers to a batch of prompts: each token the oracle's own, and the ids those of
    `generate` on the prompt alone, up to where the best two tokens are as good as equal.
    """
    oracle = Oracle(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    rng = random.Random(2)
    prompts = [[rng.randrange(4, VOCABULARY) for _ in range(length)] for length in (3, 40, 9, 3)]
    how = Generation(6, temperature=0.0, stop_ids=())
    generator = HuggingFaceGenerator(model, words)
    answers = generator(prompts, samples=1, seeds=how.seeds(4), generation=how)
    finding.generated = generator.way
    for prompt, (answer,) in zip(prompts, answers, strict=True):
        tied = False
        for t, token in enumerate(answer.ids_T):
            with torch.no_grad():
                logits_V = oracle.logits_LV([*prompt, *answer.ids_T[:t]])[-1]
            finding.worse(
                "generate: logit below the best",
                float(logits_V.max() - logits_V[token]),
                NATS,
                "nats",
            )
            best_2 = logits_V.topk(2).values
            tied = tied or float(best_2[0] - best_2[1]) < NATS
        if not tied and generator.way != "uncached":
            right = by_generate(model, prompt, len(answer.ids_T))
            if answer.ids_T != right:
                finding.wrong.append(f"generate: {answer.ids_T} and not {right}")


def by_generate(model: Any, prompt: list[int], tokens: int) -> tuple[int, ...]:
    """Greedy token ids of transformers' own loop."""
    ids = torch.tensor([prompt])
    model.generation_config.eos_token_id = None
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False
    )
    return tuple(out[0, len(prompt) :].tolist())


# ------------------------------------------------------------ one case


def examine(variant: Variant, room: Path) -> Finding:
    """Build a family and hold everything against its oracle."""
    finding = Finding(str(variant), variant.family)
    words, data = tokenizer(), room / "data.jsonl"
    try:
        words.save_pretrained(
            room / "words"
        )  # beside a config, transformers would read it as that family's own tokenizer
        policy, reference = (
            saved(variant, room / name, seed) for seed, name in enumerate(("policy", "reference"))
        )
        oracle = Oracle(policy)
        peeks = oracle.peeks()
        if not math.isfinite(peeks):
            raise NotBuiltError("its logits are not finite")
    except NotBuiltError as error:
        finding.outcome, finding.reason = "not built", str(error)
        return finding
    except Exception as error:
        finding.outcome, finding.reason = (
            "not built",
            f"{type(error).__name__}: {first_line(error)}",
        )
        return finding
    data.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    items = tokenize(holdfast.read(data), words).items
    outcomes = []
    llama = saved_llama(room / "llama")
    for what, check in (
        ("score", lambda: check_score(finding, (policy, reference), rows(), words)),
        ("train", lambda: check_train(finding, policy, data, items, room / "run")),
        (
            "as a reference",
            lambda: check_as_reference(
                finding, (llama, reference), data, items, room / "run-reference"
            ),
        ),
        ("generate", lambda: check_generate(finding, policy, words)),
    ):
        if what == "generate" and "refused" in outcomes:
            continue
        try:
            outcomes.append(check() or "packed")
        except HoldfastError as error:
            outcomes.append("refused")
            finding.reason = f"{what}: {first_line(error)}"
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            finding.wrong.append(
                f"{what}: {type(error).__name__}: {first_line(error)} "
                f"({Path(where.filename).name}:{where.lineno})"
            )
    if peeks > NATS and "refused" not in outcomes:
        finding.wrong.append(
            f"not causal (later tokens move earlier log-probabilities by {peeks:.2g} "
            "nats), and taken all the same"
        )
    finding.outcome = "wrong" if finding.wrong else max(outcomes, key=ORDER.index)
    return finding


def saved(variant: Variant, folder: Path, seed: int) -> Path:
    """A model of the family with random weights as a folder."""
    build(variant, seed=seed).save_pretrained(folder)
    return folder


def saved_llama(folder: Path) -> Path:
    torch.manual_seed(3)
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=256,
        eos_token_id=EOS,
        pad_token_id=PAD,
        initializer_range=0.2,
        **sizes,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def first_line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines)[:220] if lines else type(error).__name__


def in_a_process(variant: Variant, send: Any) -> None:
    """A child of a process that has everything imported. What it prints is thrown away."""
    began = time.monotonic()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_GIB * 2**30,) * 2)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="families-") as room:
        finding = examine(variant, Path(room))
    finding.seconds = time.monotonic() - began
    send.send(asdict(finding))
    send.close()


def sweep(cases: Sequence[Variant], *, jobs: int, seconds: float) -> Iterator[Finding]:
    """Each case in a process of its own, at most `jobs` at once, none longer than `seconds`."""
    fork = multiprocessing.get_context("fork")
    waiting, running = list(cases), []
    while waiting or running:
        while waiting and len(running) < jobs:
            variant = waiting.pop(0)
            receive, send = fork.Pipe(duplex=False)
            process = fork.Process(target=in_a_process, args=(variant, send))
            process.start()
            send.close()
            running.append((variant, process, receive, time.monotonic() + seconds))
        multiprocessing.connection.wait([receive for _, _, receive, _ in running], timeout=1)
        still = []
        for variant, process, receive, until in running:
            if receive.poll() or not process.is_alive():
                yield _received(variant, process, receive)
            elif time.monotonic() > until:
                process.kill()
                yield Finding(
                    str(variant),
                    variant.family,
                    "wrong",
                    wrong=[f"not done after {seconds:g} s"],
                    seconds=seconds,
                )
            else:
                still.append((variant, process, receive, until))
                continue
            process.join()
            receive.close()
        running = still


def _received(variant: Variant, process: Any, receive: Any) -> Finding:
    try:
        return Finding(**receive.recv())
    except EOFError:
        process.join()
        return Finding(
            str(variant),
            variant.family,
            "wrong",
            wrong=[f"the process ended with status {process.exitcode}"],
        )


# ------------------------------------------------------------ what is said


def line(finding: Finding) -> str:
    numbers = [f"{x:.1e}" if not math.isnan(x) else "" for x in (finding.nats, finding.gradient)]
    said = "; ".join(finding.wrong) or (finding.reason if finding.outcome != "packed" else "")
    return f"{finding.case:45} {finding.outcome:9} {numbers[0]:>8} {numbers[1]:>8}  {said}"


def by_family(findings: Sequence[Finding]) -> dict[str, str]:
    """The worst outcome of each family that was built."""
    worst: dict[str, str] = {}
    for each in findings:
        if each.outcome in ORDER:
            worst[each.family] = max(
                worst.get(each.family, "packed"), each.outcome, key=ORDER.index
            )
    return worst


def totals(findings: Sequence[Finding]) -> dict[str, int]:
    count = Counter(by_family(findings).values())
    return {
        "families": count.total(),
        **{outcome.replace(" ", "_"): count[outcome] for outcome in ORDER},
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("family", nargs="*", help="families to try; all unless given")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="cases at once")
    parser.add_argument(
        "--seconds", type=float, default=240, help="the longest that a case may take"
    )
    parser.add_argument("--docs", type=Path, help="write the table to this Markdown file too")
    parser.add_argument(
        "--results",
        type=Path,
        help="keep what comes out in this JSON Lines file; cases that are in it are not run again",
    )
    given = parser.parse_args()
    names = given.family or families()
    known = (
        given.results.read_text().splitlines() if given.results and given.results.exists() else []
    )
    findings = [Finding(**json.loads(text)) for text in known]
    done = {finding.case for finding in findings}
    cases = [variant for name in names for variant in variants(name) if str(variant) not in done]
    print(f"{'family':45} {'outcome':9} {'nats':>8} {'gradient':>8}")
    for finding in sweep(cases, jobs=given.jobs, seconds=given.seconds):
        findings.append(finding)
        if given.results:
            with given.results.open("a") as file:
                file.write(json.dumps(asdict(finding)) + "\n")
        print(line(finding), flush=True)
    if given.docs:
        from families_page import page

        text = page(
            findings, totals=totals(findings), rows=ROWS, batch=BATCH, nats=NATS, relative=RELATIVE
        )
        given.docs.write_text(text, encoding="utf-8")
    print(json.dumps(totals(findings)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
