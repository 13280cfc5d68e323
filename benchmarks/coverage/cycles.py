"""Cycles: rankings with noise of several kinds, where nothing may be found, and wheels mixed into
rankings, whose share is known.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.special import expit

from coverage._made import matches, ranking, rows_of, wheel
from coverage.case import Case, Trial, judged
from holdfast.checkup.estimators.tournament import Tournament, left_by_rankings
from holdfast.checkup.findings.cycles import cycles
from holdfast.checkup.request import CheckRequest


def ranked(seed: int, *, n: int, players: int, flip: float = 0.0, spread: float = 1.5) -> Trial:
    rng = np.random.default_rng(seed)
    return judged(
        cycles(matches(rng, n, ranking(rng, players, spread), flip=flip), CheckRequest(seed=seed)),
        0.0,
    )


def stepped(seed: int, *, n: int = 1500, players: int = 10) -> Trial:
    """The better one wins in 85%, by however much it is better: a ranking far from
    Bradley-Terry.
    """
    rng = np.random.default_rng(seed)
    logit_AA = np.sign(ranking(rng, players)) * np.log(0.85 / 0.15)
    return judged(cycles(matches(rng, n, logit_AA), CheckRequest(seed=seed)), 0.0)


def in_prompts(seed: int, *, prompts: int = 80, answers: int = 4) -> Trial:
    """All six comparisons of four answers a prompt, each made once."""
    rng = np.random.default_rng(seed)
    made = []
    for p in range(prompts):
        worth = rng.normal(size=answers) * 1.5
        for one in range(answers):
            for two in range(one):
                a, b = (one, two) if rng.random() < expit(worth[one] - worth[two]) else (two, one)
                made.append(
                    {
                        "prompt": f"question {p}",
                        "chosen": f"answer {a} of {p}",
                        "rejected": f"answer {b} of {p}",
                    }
                )
    return judged(cycles(rows_of(made), CheckRequest(seed=seed)), None)


def one_ranking(seed: int, *, wrong: float, prompts: int = 80, answers: int = 4) -> Trial:
    """Three raters follow one ranking of a prompt's answers; each verdict is wrong with chance
    `wrong`.
    """
    rng = np.random.default_rng(seed)
    made = []
    for p in range(prompts):
        worth = rng.normal(size=answers)
        for one in range(answers):
            for two in range(one):
                for rater in range(3):
                    right = rng.random() >= wrong
                    a, b = (one, two) if (worth[one] > worth[two]) == right else (two, one)
                    made.append(
                        {
                            "prompt": f"question {p}",
                            "chosen": f"answer {a} of {p}",
                            "rejected": f"answer {b} of {p}",
                            "rater": f"r{rater}",
                        }
                    )
    return judged(cycles(rows_of(made), CheckRequest(seed=seed)), None)


def rankings(seed: int, *, people: int = 200, films: int = 6) -> Trial:
    """Whole rankings of six films by people of one Plackett-Luce taste."""
    rng = np.random.default_rng(seed)
    made = []
    for k in range(people):
        worth = -0.4 * np.arange(films) + rng.gumbel(size=films)
        for one in range(films):
            for two in range(one):
                a, b = (one, two) if worth[one] > worth[two] else (two, one)
                made.append(
                    {
                        "prompt": "Which film?",
                        "chosen": f"film {a}",
                        "rejected": f"film {b}",
                        "rater": f"r{k}",
                    }
                )
    return judged(cycles(rows_of(made), CheckRequest(seed=seed)), None)


def cyclic_prompts(seed: int, *, share: float, prompts: int = 80, answers: int = 4) -> Trial:
    """As `one_ranking`, wrong in 5%; in a share of the prompts the first three answers beat each
    other in a cycle.
    """
    rng = np.random.default_rng(seed)
    made = []
    for p in range(prompts):
        worth, turns = rng.normal(size=answers), rng.random() < share
        for one in range(answers):
            for two in range(one):
                better = worth[one] > worth[two]
                if turns and one < 3:
                    better = (one - two) % 3 == 1
                for rater in range(3):
                    a, b = (one, two) if better != (rng.random() < 0.05) else (two, one)
                    made.append(
                        {
                            "prompt": f"question {p}",
                            "chosen": f"answer {a} of {p}",
                            "rejected": f"answer {b} of {p}",
                            "rater": f"r{rater}",
                        }
                    )
    return judged(cycles(rows_of(made), CheckRequest(seed=seed)), None)


def mixed(seed: int, *, share: float, n: int = 2500, players: int = 9) -> Trial:
    """A ranking plus a wheel. The truth: of the variance of the true win rates, what the best
    ranking leaves over.
    """
    rng = np.random.default_rng(seed)
    order = np.arange(players) / players
    logit_AA = 3 * (share * wheel(players) + (1 - share) * 2 * (order[:, None] - order))
    pair_E2 = np.column_stack(np.triu_indices(players, 1))
    truth = left_over(pair_E2, expit(logit_AA[tuple(pair_E2.T)]))
    return judged(cycles(matches(rng, n, logit_AA), CheckRequest(seed=seed)), truth)


def left_over(pair_N2: np.ndarray, p_N: np.ndarray) -> float:
    """Of the variance of exact chances in these meetings, what the best ranking leaves over; of
    pairs that met again and are on a ring.

    Elsewhere a ranking can say anything: with the branches of a sparse graph the share would be
        smaller, and known less well.
    """
    if len(np.unique(pair_N2, axis=0)) == len(pair_N2):  # a list of pairs, and not of meetings
        pair_N2, p_N = np.tile(pair_N2, (2, 1)), np.tile(p_N, 2)
    low_N2 = np.sort(pair_N2, axis=1)
    t = Tournament.of(*low_N2.T, np.arange(len(low_N2)))
    chance_N = np.where(pair_N2[:, 0] == low_N2[:, 0], p_N, 1 - p_N)[t.unit_U]
    return left_by_rankings(t, np.bincount(t.at_U, weights=chance_N) / t.n_E)


CASES = [
    Case(
        "cycles",
        "1,500 matches of 8 players, a ranking",
        "0%",
        partial(ranked, n=1500, players=8),
    ),
    Case(
        "cycles",
        "1,500 matches of 8, a ranking, 20% flipped",
        "0%",
        partial(ranked, n=1500, players=8, flip=0.2),
    ),
    Case("cycles", "600 matches of 40, a ranking", "0%", partial(ranked, n=600, players=40)),
    Case("cycles", "1,500 matches of 10, the better wins 85%", "0%", stepped),
    Case("cycles", "80 prompts, 4 answers, each pair once", "none", in_prompts),
    *(
        Case(
            "cycles",
            f"80 prompts, 4 answers, 3 raters follow one ranking, {wrong:.0%} wrong",
            "none",
            partial(one_ranking, wrong=wrong),
        )
        for wrong in (0.0, 0.02, 0.1)
    ),
    Case(
        "cycles",
        "160 prompts, 5 answers, 3 raters follow one ranking, 4% wrong",
        "none",
        partial(one_ranking, wrong=0.04, prompts=160, answers=5),
    ),
    Case("cycles", "200 people alike rank 6 films", "none", rankings),
    Case(
        "cycles",
        "80 prompts, 4 answers, 3 raters, a cycle in each prompt",
        "cycles",
        partial(cyclic_prompts, share=1.0),
    ),
    Case(
        "cycles",
        "the same, a cycle in half of the prompts",
        "cycles",
        partial(cyclic_prompts, share=0.5),
    ),
    Case("cycles", "2,500 matches of 9, some wheel", "known", partial(mixed, share=0.3)),
    Case("cycles", "2,500 matches of 9, half wheel", "known", partial(mixed, share=0.5)),
    Case("cycles", "2,500 matches of 9, all wheel", "known", partial(mixed, share=1.0)),
]
