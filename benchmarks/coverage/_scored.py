"""Comparisons that a small model has scored once a process, and draws of them with labels planted
against the model's own order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.special import logit

from coverage.case import Case, Trial, judged
from holdfast.checkup.comparisons import Comparisons
from holdfast.checkup.estimators.model_scores import ModelScores
from holdfast.checkup.findings.difficulty import difficulty
from holdfast.checkup.request import CheckRequest
from holdfast.evaluation.difficulty import CERTAIN
from holdfast.evaluation.ranking import PairScores
from holdfast.inputs.swap import swapped_row
from holdfast.models.small import small_model
from holdfast.stats.intervals import Estimate
from holdfast.types import Row


@dataclass(frozen=True)
class Pool:
    """Rows by prompt, and by how many nats the model finds the likelier answer (`first`)
    likelier.
    """

    rows: tuple[Row, ...]  # the likelier answer is the chosen one
    model_scores: ModelScores
    gap_N: np.ndarray
    prompts: tuple[np.ndarray, ...]  # places of the rows of each prompt

    @classmethod
    def scored(cls, rows: Sequence[Row]) -> Pool:
        """By a model of random weights, made on the spot; rows that are too long for it, and ties,
        are left out.
        """
        with TemporaryDirectory() as folder:
            texts = [str(text) for row in rows for text in (row.prompt, row.chosen, row.rejected)]
            model = small_model(
                texts,
                Path(folder) / "model",
                vocab=512,
                hidden=32,
                layers=1,
                heads=2,
                max_tokens=512,
            )
            model_scores = ModelScores.read(rows, CheckRequest(model=model, quiet=True))
        gap_N = model_scores.scores.chosen_N - model_scores.scores.rejected_N
        kept = [i for i in range(len(rows)) if np.isfinite(gap_N[i]) and gap_N[i] != 0]
        ordered = [rows[i] if gap_N[i] > 0 else swapped_row(rows[i]) for i in kept]
        prompt = np.unique([str(row.prompt) for row in ordered], return_inverse=True)[1]
        places = np.split(np.argsort(prompt, kind="stable"), np.cumsum(np.bincount(prompt))[:-1])
        taken = replace(
            model_scores, scores=sides(model_scores.scores.take(np.array(kept)), gap_N[kept] > 0)
        )
        return cls(tuple(ordered), taken, np.abs(gap_N[kept]), tuple(places))

    def beta_for(self, reach: float, agree: float) -> float:
        """At which the optimum turns that share of pairs around, where `agree` of the raters are
        against the model.
        """
        return float(min(logit(agree), -np.log(CERTAIN)) / np.quantile(self.gap_N, reach))

    def draw(
        self,
        seed: int,
        prompts: int,
        *,
        right: float,
        agree: float = 1.0,
        raters: int = 1,
        told: bool = False,
    ) -> Comparisons:
        """Rows of `prompts` prompts. People's side of a pair is the model's with probability
        `right`; each of its raters takes their side with probability `agree`, which a column says
        where it is `told`."""
        rng = np.random.default_rng([seed, 4 + raters])
        once = np.concatenate(
            [self.prompts[k] for k in rng.choice(len(self.prompts), prompts, replace=False)]
        )
        at, side = np.repeat(once, raters), np.repeat(rng.random(len(once)) < right, raters)
        theirs = rng.random(len(at)) < agree
        keeps = side == theirs
        made = [
            self.rows[i] if keep else swapped_row(self.rows[i])
            for i, keep in zip(at, keeps, strict=True)
        ]
        if told:
            made = [
                replace(row, confidence=agree if yes else 1 - agree)
                for row, yes in zip(made, theirs, strict=True)
            ]
        made = [replace(row, rater=f"r{i % raters}") for i, row in enumerate(made)]
        place = {id(row): i for i, row in enumerate(made)}
        model_scores = replace(
            self.model_scores,
            scores=sides(self.model_scores.scores.take(at), keeps),
            state_ND=np.zeros((len(at), 1)),
            place=place,
        )
        return replace(Comparisons.of(made), model_scores=model_scores)


def sides(scores: PairScores, keeps: np.ndarray) -> PairScores:
    """Chosen and rejected change places where `keeps` is False."""
    s, out = scores, []
    for one, other in (
        (s.chosen_N, s.rejected_N),
        (s.chosen_length_N, s.rejected_length_N),
        (s.ref_chosen_N, s.ref_rejected_N),
    ):
        assert one is not None and other is not None
        out += [np.where(keeps, one, other), np.where(keeps, other, one)]
    return PairScores(*out)


def ranked(seed: int, *, of: Callable[[], Pool], prompts: int, right: float) -> Trial:
    """Ranking accuracy: the share of labels that are the model's own order."""
    found = difficulty(
        of().draw(seed, prompts, right=right), CheckRequest(seed=seed, model="made", quiet=True)
    )
    return judged(found, right, Estimate(**found.numbers["ranking"]["policy"]))


def idealized(
    seed: int, *, of: Callable[[], Pool], prompts: int, reach: float, agree: float = 1.0, **how: Any
) -> Trial:
    """Idealized ranking accuracy, at the beta at which the optimum turns `reach` of the pairs
    around that people see otherwise than the model, half of all: there it takes their side, with
    which `agree` of the labels are, and elsewhere the model's."""
    pool = of()
    request = CheckRequest(seed=seed, model="made", beta=pool.beta_for(reach, agree), quiet=True)
    return judged(
        difficulty(pool.draw(seed, prompts, right=0.5, agree=agree, **how), request),
        truth(reach, agree),
    )


def truth(reach: float, agree: float) -> float:
    return 0.5 * agree + 0.5 * (agree * reach + (1 - agree) * (1 - reach))


def cases(about: str, of: Callable[[], Pool], prompts: int) -> list[Case]:
    how: dict[str, Any] = {"of": of, "prompts": prompts}
    ranking = "labels in the model's order at the rate (covered: ranking accuracy)"
    shared = f"{about}, labels at random"
    kinds: dict[str, dict[str, Any]] = {
        "80% of raters agree, as a column says": {"agree": 0.8, "told": True},
        "80% of raters agree, three verdicts a pair": {"agree": 0.8, "raters": 3},
    }
    return [
        *(
            Case(
                "difficulty",
                f"{about}, {ranking}",
                f"{right:.0%}",
                partial(ranked, right=right, **how),
            )
            for right in (0.5, 0.8)
        ),
        *(
            Case(
                "difficulty",
                f"{shared}, {1 - reach:.0%} of the wrong out of reach (covered: idealized)",
                f"{truth(reach, 1.0):.0%}",
                partial(idealized, reach=reach, **how),
            )
            for reach in (1.0, 0.8, 0.5, 0.2)
        ),
        *(
            Case(
                "difficulty",
                f"{shared}, half of the wrong out of reach, {name} (covered: idealized)",
                f"{truth(0.5, 0.8):.0%}",
                partial(idealized, reach=0.5, **kind, **how),
            )
            for name, kind in kinds.items()
        ),
    ]
