"""How well cheap features of answers rank preferences that they were not fitted on.

    python benchmarks/check_features.py FILE ... [--rows 3000] [--model M] [--flips 0.2]

For each file, the share of held-out comparisons (five folds, no prompt on both sides) that a
logistic preference model ranks as they are labeled, by features:

- surface: length, layout, marks; nothing of what an answer says (the check-up's own)
- topics: surface, 64 leading directions of a bag of words, fit to the prompt (the check-up's own)
- words: single words, weighed (the check-up's own)
- prompt: topics, and each word of the prompt times two leading directions (the check-up's own)
- n-grams: 2 to 4 characters within words, weighed
- static: surface, and WordLlama's static embeddings (256 numbers), where `wordllama` is installed
- states: surface, and 128 directions of a model's hidden states, with --model
- log-odds: log-probability of the chosen less that of the rejected answer, summed and a token, with
  --model

and how far the flip rate is told, with its interval, from the check-up's models as the labels are
and with a share of them flipped. Prints a Markdown table and last one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from holdfast import read
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.features import (
    Penalty,
    cross_fit,
    preference_model,
    prompt_model,
    standardized,
    surface_model,
    surface_ND,
    word_model,
)
from holdfast.checkup.estimators.flip_rate import by_models
from holdfast.checkup.estimators.model_scores import ModelScores
from holdfast.checkup.request import CheckRequest
from holdfast.data import corrupt

Logits = np.ndarray


def n_grams(data: Comparisons) -> Logits:
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    hashed = HashingVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), n_features=2**18, alternate_sign=False, norm=None
    )
    both = hashed.transform([text[:4000] for text in (*data.chosen, *data.rejected)])
    both.data = 1 + np.log(both.data)
    both = TfidfTransformer().fit_transform(both)
    x = (both[: len(data)] - both[len(data) :]).tocsr()
    size = float(np.sqrt(x.multiply(x).sum() / len(data))) or 1.0
    return cross_fit(x / size, data.cluster_N, fit=Penalty(c=1.0)).logit_N


def static(data: Comparisons) -> Logits:
    """The mean of an answer's static embeddings, of length 1."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    spec = find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("wordllama")
    folder = Path(spec.origin).parent
    tokens = Tokenizer.from_file(str(next((folder / "tokenizers").glob("*.json"))))
    tokens.no_padding()
    tokens.enable_truncation(1024)
    table = next(iter(load_file(next((folder / "weights").glob("*_256.safetensors"))).values()))

    def embedded(texts: list[str]) -> np.ndarray:
        out = np.zeros((len(texts), table.shape[1]))
        for i, one in enumerate(
            tokens.encode_batch([t[:8000] for t in texts], add_special_tokens=False)
        ):
            if one.ids:
                out[i] = table[one.ids].mean(0)
        return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)

    gap = embedded(data.chosen) - embedded(data.rejected)
    x = np.hstack([standardized(surface_ND(data)), standardized(gap)])
    return cross_fit(x, data.cluster_N, fit=Penalty(c=0.001)).logit_N


def states(data: Comparisons) -> Logits:
    return preference_model(data).logit_N  # with a model, its topics are the hidden states'


def log_odds(data: Comparisons) -> Logits:
    assert data.model_scores is not None
    scores = data.model_scores.scores
    gap = np.nan_to_num(scores.chosen_N - scores.rejected_N)
    a_token = np.nan_to_num(
        scores.chosen_N / np.maximum(scores.chosen_length_N, 1)
        - scores.rejected_N / np.maximum(scores.rejected_length_N, 1)
    )
    return cross_fit(standardized(np.stack([gap, a_token], 1)), data.cluster_N).logit_N


CANDIDATES: dict[str, Callable[[Comparisons], Any]] = {
    "surface": lambda data: surface_model(data).logit_N,
    "topics": lambda data: preference_model(data).logit_N,
    "words": lambda data: word_model(data).logit_N,
    "prompt": lambda data: prompt_model(data).logit_N,
    "n-grams": n_grams,
    "static": static,
}
OF_MODEL = {"states": states, "log-odds": log_odds}


def ranked(logit_N: Logits) -> float:
    return float(((logit_N > 0) + 0.5 * (logit_N == 0)).mean())


def told(data: Comparisons) -> str:
    found = by_models(data)
    low, high = found.rate.ends
    span = f"{100 * low:.0f} to {100 * high:.0f}%"
    return span if found.identified else f"not told ({span})"


def examined(file: str, rows: int, model: str | None, flips: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        data = Comparisons.read(read(file, quarantine=Path(folder) / "quarantine.jsonl"))
    if len(data) > rows:
        data = data.take(np.sort(np.random.default_rng(0).permutation(len(data))[:rows]))
    out: dict[str, Any] = {"rows": len(data), "prompts": len(data.prompt.names)}
    for name, of in CANDIDATES.items():
        start = time.perf_counter()
        try:
            out[name] = ranked(of(data))
        except ModuleNotFoundError:
            out[name] = math.nan
        out[f"{name} seconds"] = time.perf_counter() - start
    if model is not None:
        request = CheckRequest(model=model, quiet=True)
        scored = replace(
            data.take(range(len(data))), model_scores=ModelScores.read(data.rows, request)
        )
        for name, of in OF_MODEL.items():
            out[name] = ranked(of(scored))
    turned, _ = corrupt.flip(data.rows, rate=flips, seed=1)
    out["told"], out["told after flips"] = told(data), told(Comparisons.of(turned))
    return out


def lines(found: dict[str, dict[str, Any]], flips: float) -> Iterator[str]:
    names = [n for n in (*CANDIDATES, *OF_MODEL) if any(n in one for one in found.values())]
    yield f"| file | pairs | {' | '.join(names)} | flipped, told | with {flips:.0%} flipped |"
    yield "|" + " --- |" * (len(names) + 4)
    for file, one in found.items():
        shown = " | ".join("" if math.isnan(one[n]) else f"{100 * one[n]:.1f}" for n in names)
        yield f"| {file} | {one['rows']:,} | {shown} | {one['told']} | {one['told after flips']} |"
    means = [np.mean([one[n] for one in found.values()]) for n in names]
    yield f"| mean | | {' | '.join(f'{100 * mean:.1f}' for mean in means)} | | |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--model")
    parser.add_argument("--flips", type=float, default=0.2)
    given = parser.parse_args()
    found = {}
    for file in given.files:
        name = (
            Path(file).parent.name
            if Path(file).stem.startswith(("pairs", "original"))
            else Path(file).stem
        )
        found[name] = examined(file, given.rows, given.model, given.flips)
        print(name, found[name], flush=True)
    print()
    print("\n".join(lines(found, given.flips)))
    print(
        json.dumps(
            {name: float(np.mean([one[name] for one in found.values()])) for name in CANDIDATES}
        )
    )


if __name__ == "__main__":
    main()
