"""MaxMin-RLHF: subgroups among raters found by expectation maximization, and a policy for the
worst-served one

Raters: 100 of two subgroups, 80 and 20; linear rewards over 8 features, both of length 2, at a
cosine of -1/2; every rater gives so many labels by Bradley-Terry, on differences of features drawn
from a normal. Subgroups are matched to groups so that they agree best. Accuracy is the share of
4,000 fresh pairs on which a reward ranks as the subgroup's own does; "soft" and "hard" are the two
E-steps, with 5 starts each.

Policies: 16 prompts with 10 answers, uniform reference, beta 1/2, rewards as gains over the
reference; the same raters give 10 labels each. Arms: the max-min policy on the rewards that EM
found, on the true ones, on the pooled reward of all raters (what plain RLHF has), on the true
rewards weighted by the subgroups' shares, and on each answer's smaller reward. All are measured by
the true rewards, exactly. With a `cosine` of 0.9 the subgroups nearly agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from holdfast.lab.claim import Claim, Measured
from holdfast.lab.verdict import bounded, equivalent, separated
from holdfast.lab.worlds import subgroups as subgroups
from holdfast.lab.worlds.subgroups import CAMP_R, FEATURES, labels, tastes
from holdfast.pluralism.maxmin import gains, maxmin, policy_for
from holdfast.pluralism.mixture import hard, mixture, soft

PLACED, MINORS, MAJORS = (
    "raters put in their subgroup",
    "accuracy for the minority",
    "accuracy for the majority",
)
WORST, MAJOR, VALUE = (
    "reward of the worse-served subgroup",
    "reward of the majority",
    "worst reward minus beta KL",
)
BETA = 0.5


def found_subgroups(seeds: Sequence[int], *, labels_each: int) -> Measured:
    out: dict[str, dict[str, list[float]]] = {}
    for seed in seeds:
        rng = np.random.default_rng([seed, 0])
        theta_KD = tastes(rng, -0.5)
        x_ND, rater_N = labels(rng, theta_KD, labels_each)
        fresh_ND = rng.standard_normal((4000, FEATURES))
        single_D = mixture(x_ND, rater_N, k=1).theta_KD[0]
        arms: dict[str, Any] = {"one reward": (single_D, single_D, None)}
        for name, assign in (("EM, soft", soft), ("EM, hard", hard)):
            fitted = mixture(x_ND, rater_N, k=2, assign=assign, restarts=5, seed=seed)
            group_R = fitted.responsibility_RK.argmax(1)
            turned = (group_R == CAMP_R).mean() < 0.5
            first, second = fitted.theta_KD[::-1] if turned else fitted.theta_KD
            arms[name] = first, second, max((group_R == CAMP_R).mean(), (group_R != CAMP_R).mean())
        for name, (first, second, placed) in arms.items():
            quantities = out.setdefault(name, {})
            for of, mine, true in ((MAJORS, first, theta_KD[0]), (MINORS, second, theta_KD[1])):
                quantities.setdefault(of, []).append(
                    float(((fresh_ND @ mine > 0) == (fresh_ND @ true > 0)).mean())
                )
            if placed is not None:
                quantities.setdefault(PLACED, []).append(float(placed))
    return out


def policies(seeds: Sequence[int], *, cosine: float) -> Measured:
    out: dict[str, dict[str, list[float]]] = {}
    for seed in seeds:
        rng = np.random.default_rng([seed, 1])
        theta_KD = tastes(rng, cosine)
        x_ND, rater_N = labels(rng, theta_KD, 10)
        features_SAD = rng.standard_normal((16, 10, FEATURES))
        log_ref = np.full((16, 10), -np.log(10))

        def rewards(
            theta_KD: np.ndarray,
            features_SAD: np.ndarray = features_SAD,
            log_ref: np.ndarray = log_ref,
        ) -> np.ndarray:
            return gains(np.einsum("kd,sad->ksa", theta_KD, features_SAD), log_ref, unit=False)

        true = rewards(theta_KD)
        arms = {
            "max-min, rewards by EM": maxmin(
                rewards(mixture(x_ND, rater_N, k=2, seed=seed).theta_KD), log_ref, beta=BETA
            ),
            "max-min, true rewards": maxmin(true, log_ref, beta=BETA),
            "one pooled reward": policy_for(
                rewards(mixture(x_ND, rater_N, k=1).theta_KD), log_ref, [1.0], beta=BETA
            ),
            "true rewards by share": policy_for(true, log_ref, [0.8, 0.2], beta=BETA),
            "least reward of each answer": policy_for(
                true.min(0, keepdims=True), log_ref, [1.0], beta=BETA
            ),
        }
        for name, policy in arms.items():
            served_K = np.einsum("sa,ksa->k", np.exp(policy.logp_SA), true) / 16
            quantities = out.setdefault(name, {WORST: [], MAJOR: [], VALUE: []})
            quantities[WORST].append(float(served_K.min()))
            quantities[MAJOR].append(float(served_K[0]))
            quantities[VALUE].append(float(served_K.min()) - BETA * policy.kl)
    return out


EM: dict[str, Any] = {
    "methods": (),
    "world": subgroups,
    "measure": found_subgroups,
    "sweep": {"labels_each": (1, 2, 5, 10, 30)},
    "seeds": range(20),
    "chunk": 10,
}
POLICY: dict[str, Any] = {
    "methods": (),
    "world": subgroups,
    "measure": policies,
    "sweep": {"cosine": (-0.5, 0.9)},
    "seeds": range(20),
    "chunk": 10,
}
PAPER = (
    "win rates up by 16% on average and by more than 33% for minorities, without "
    "compromising the majority (GPT-2 and Tulu2-7B)"
)

CLAIMS = (
    Claim(
        says="With 10 labels a rater or more, EM puts over 90% of raters in their subgroup.",
        of=PLACED,
        verdict=bounded("EM, soft", PLACED, low=0.9, at={"labels_each": (10, 30)}),
        **EM,
    ),
    Claim(
        says=(
            "One label a rater is not enough: EM places fewer than calling everybody a member "
            "of the majority would (80%)."
        ),
        of=PLACED,
        verdict=bounded("EM, soft", PLACED, high=0.8, at={"labels_each": 1}),
        notes="So EM over pairs whose raters are not known cannot be trusted to find subgroups.",
        **EM,
    ),
    Claim(
        says=(
            "With 10 labels a rater the minority's own reward ranks its pairs right over 30 "
            "points more often than one reward for all."
        ),
        of=MINORS,
        verdict=separated("EM, soft", "one reward", MINORS, by=0.3, at={"labels_each": (10, 30)}),
        paper_number=PAPER,
        **EM,
    ),
    Claim(
        says=(
            "With 10 labels a rater the majority's reward gains too: the minority's labels no "
            "longer pull at it."
        ),
        of=MAJORS,
        verdict=separated("EM, soft", "one reward", MAJORS, at={"labels_each": (10, 30)}),
        **EM,
    ),
    Claim(
        says=(
            "The paper's hard E-step and the soft one place raters equally well, within 5 "
            "points, with 5 labels a rater or more."
        ),
        of=PLACED,
        verdict=equivalent(
            "EM, soft", "EM, hard", PLACED, within=0.05, at={"labels_each": (5, 10, 30)}
        ),
        **EM,
    ),
    Claim(
        says=(
            "On opposed subgroups the max-min policy on EM's rewards serves the worse-served "
            "subgroup better than one pooled reward does."
        ),
        of=WORST,
        verdict=separated(
            "max-min, rewards by EM", "one pooled reward", WORST, at={"cosine": -0.5}
        ),
        paper_number=PAPER,
        **POLICY,
    ),
    Claim(
        says=(
            "It does not compromise the majority: on opposed subgroups the majority's reward is "
            "within 0.1 of that under one pooled reward."
        ),
        of=MAJOR,
        verdict=equivalent(
            "max-min, rewards by EM", "one pooled reward", MAJOR, within=0.1, at={"cosine": -0.5}
        ),
        paper_number=PAPER,
        **POLICY,
    ),
    Claim(
        says="Where the subgroups nearly agree the majority is not compromised: within 0.1.",
        of=MAJOR,
        verdict=equivalent(
            "max-min, rewards by EM", "one pooled reward", MAJOR, within=0.1, at={"cosine": 0.9}
        ),
        **POLICY,
    ),
    Claim(
        says=(
            "Splitting people who nearly agree hurts: there even the worse-served subgroup has "
            "less than under one pooled reward."
        ),
        of=WORST,
        verdict=separated("one pooled reward", "max-min, rewards by EM", WORST, at={"cosine": 0.9}),
        notes=(
            "Each subgroup's reward is learned from fewer labels, and subgroups that are not there "
            "are found. Ask `held_out` first."
        ),
        **POLICY,
    ),
    Claim(
        says=(
            "Paying every answer the smaller of its two rewards is another problem: by the "
            "max-min objective it falls short."
        ),
        of=VALUE,
        verdict=separated("max-min, true rewards", "least reward of each answer", VALUE),
        **POLICY,
    ),
)
