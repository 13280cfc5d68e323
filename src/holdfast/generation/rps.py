"""Directional neighborhood consensus: ask under nearby trade-offs, choose under the one that was
wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, radians
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from holdfast.card import check
from holdfast.errors import DataError, OptionError
from holdfast.generation.best_of_n import Picked, picked
from holdfast.generation.contract import Generation
from holdfast.generation.text import draw
from holdfast.rewards.functions import Reward, checked, name_of, reward_from
from holdfast.stats.arrays import Floats
from holdfast.types import Text

Ask = Callable[
    [Text, Sequence[int]], Text
]  # (prompt, a weight in percent for each attribute) -> the prompt that asks for that trade-off

GRID = tuple(range(-40, 45, 5))  # degrees, as in the authors' code


@dataclass(frozen=True)
class Consensus(Picked):
    """What `rps` kept, and the directions it asked under: `direction_ND[place_P[p]]` is the one
    whose answer prompt p got.
    """

    direction_ND: Floats
    reward_PND: Floats


def rps(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Text],
    rewards: Sequence[str | Path | Reward],
    *,
    direction: ArrayLike,
    neighbors: ArrayLike | None = None,
    within: float = 30.0,
    n: int = 5,
    unit: ArrayLike | None = None,
    ask: Ask | None = None,
    generation: Generation | None = None,
    template: str = "auto",
    accept_loss: Sequence[str] = (),
    rows: int = 64,
    device: str = "cpu",
    progress: bool = False,
) -> Consensus:
    """One answer under each of n directions near the wanted one, and the answer that is best in the
    wanted direction.

        v_1..v_n within an angle of v;   y_i ~ pi(. | x, v_i);   return argmax_i v . r(x, y_i)
                (Mao et al. 2025, RPS)

    A model told to trade two attributes in a way it was seldom trained on answers badly; under a
    nearby trade-off it may answer better, even as judged by the one that was wanted. It helps where
    quality does fall away from the trained directions, and loses where it does not: compare with
    `best_of_n` under the wanted direction, and with the nearest trained direction, at the same n.

    Args:
        model: a causal language model that reads directions from its prompt, or a `Generator`
        tokenizer: the model's
        prompts: strings, or conversations
        rewards: one a direction's axis: functions `reward(prompts, answers) -> scores`, their
            names, or reward models' folders
        direction: the wanted trade-off: an angle in degrees (two attributes: cos weighs the first,
            sin the second), or a vector
        neighbors: directions to ask under, n x D; chosen by `near_angles` or `near_directions`
            unless given
        within: largest angle from the wanted direction, degrees
        n: directions, an answer each
        unit: what one unit of each attribute is; 1 unless given. Without it the attribute with the
            larger scale decides
        ask: how a direction is put into a prompt; the default asks in words, so a model trained
            otherwise needs its own
        generation: how answers are drawn; `Generation(temperature=0.7)` unless given. Its seed also
            draws neighbors, where there are more than two attributes
        template: as in `tokenize`
        accept_loss: what the chat template may drop of a prompt, as in `tokenize`
        rows: answers generated at once; answers do not depend on it
        device: of reward models
        progress: a bar over the answers

    Raises:
        OptionError: a direction or setting out of range, too few neighbors, or rewards that do not
            return finite numbers.

    Departures:
        1. For two attributes neighbors come from the authors' grid of absolute angles, -40 to 40
           degrees: beyond 40 they lie on one side.
        2. No repetition penalty, and no top-p unless `generation` has one, so that what is drawn is
           the model's own distribution at its temperature.
    """
    check("n", n, isinstance(n, int) and n >= 1, "be a whole number of at least 1")
    wanted_D = direction_of(direction)
    check(
        "rewards",
        len(rewards),
        len(rewards) == len(wanted_D),
        f"be as many as the direction has axes, {len(wanted_D)}",
    )
    unit_D = np.ones(len(wanted_D)) if unit is None else np.asarray(unit, float)
    check(
        "unit",
        unit_D.tolist(),
        unit_D.shape == wanted_D.shape and bool((unit_D > 0).all()),
        "be above 0, one for each attribute",
    )
    how = generation or Generation(temperature=0.7)
    direction_ND = _neighbors(wanted_D, neighbors, within, n, how.seed)
    ask = ask or in_words
    percent_ND = np.rint(100 * direction_ND).astype(int).tolist()
    asked = [ask(prompt, percent) for prompt in prompts for percent in percent_ND]
    drawn_texts = draw(
        model,
        tokenizer,
        asked,
        generation=how,
        template=template,
        accept_loss=accept_loss,
        rows=rows,
        progress=progress,
    )
    flat = [answer for (answer,) in drawn_texts]
    whose = [prompt for prompt in prompts for _ in percent_ND]
    sources = [
        (reward_from(reward, device=device, accept_loss=accept_loss), name_of(reward))
        for reward in rewards
    ]
    each = [
        checked(score(whose, flat), len(flat), name) if flat else np.zeros(0)
        for score, name in sources
    ]
    reward_PND = (
        np.stack(each, axis=-1).reshape(len(prompts), len(direction_ND), len(unit_D)) / unit_D
    )
    drawn = [flat[p * len(direction_ND) : (p + 1) * len(direction_ND)] for p in range(len(prompts))]
    kept = picked(drawn, reward_PND @ wanted_D)
    return Consensus(kept.texts, kept.place_P, kept.drawn, kept.score_PN, direction_ND, reward_PND)


def in_words(prompt: Text, percent: Sequence[int]) -> Text:
    """The prompt with a sentence that asks for a trade-off, at its end (of a conversation, at the
    end of its last message).
    """
    names = (
        ("helpfulness", "verbosity")
        if len(percent) == 2
        else tuple(f"attribute {i + 1}" for i in range(len(percent)))
    )
    wish = (
        "Weigh the qualities of your answer like this: "
        + ", ".join(f"{name} {p}" for name, p in zip(names, percent, strict=True))
        + "."
    )
    if isinstance(prompt, str):
        return f"{prompt}\n\n{wish}"
    if not prompt:
        raise DataError("a conversation without a message cannot ask for anything")
    return [*prompt[:-1], {**prompt[-1], "content": f"{prompt[-1].get('content', '')}\n\n{wish}"}]


# ------------------------------------------------------------ directions


def direction_of(direction: ArrayLike) -> Floats:
    """A unit vector: of an angle in degrees (cos a, sin a), or of a vector."""
    given = np.asarray(direction, float)
    if given.ndim == 0:
        check("direction", float(given), bool(np.isfinite(given)), "be finite")
        return np.array([np.cos(np.radians(given)), np.sin(np.radians(given))])
    norm = float(np.linalg.norm(given))
    check(
        "direction",
        given.tolist(),
        given.ndim == 1 and len(given) >= 2 and 0 < norm < inf,
        "be an angle, or a vector that is not 0",
    )
    return np.asarray(given / norm)


def near_angles(
    target: float, *, within: float = 30.0, n: int = 5, grid: Sequence[float] = GRID
) -> list[float]:
    """The n angles of the grid nearest to the target, at most `within` degrees away, nearest first,
    the smaller of two as near.

    Raises:
        OptionError: fewer than n of them.
    """
    close = sorted(
        (angle for angle in sorted(grid) if abs(angle - target) <= within + 1e-9),
        key=lambda angle: abs(angle - target),
    )
    if len(close) < n:
        raise OptionError(
            f"{len(close)} angles of the grid are within {within:g} degrees of {target:g}",
            hint=f"n={len(close)}, or within=",
        )
    return close[:n]


def near_directions(
    target_D: ArrayLike, *, within: float = 30.0, n: int = 5, seed: int = 0
) -> Floats:
    """The target itself and n - 1 drawn evenly from the cap of `within` degrees around it: n x D,
    for any number of attributes.
    """
    target = direction_of(target_D)
    check("within", within, 0 <= within <= 90, "lie between 0 and 90 degrees")
    rng = np.random.default_rng([seed, 0xD1])
    # On a sphere of D axes the share of directions at an angle t from the target grows as sin(t)^(D
    # - 2).
    angle_Q = np.linspace(0, radians(within), 1025)
    share_Q = np.cumsum(np.sin(angle_Q) ** (len(target) - 2))
    angle_N = (
        np.interp(rng.random(n - 1) * share_Q[-1], share_Q, angle_Q)
        if within > 0
        else np.zeros(n - 1)
    )
    around_ND = rng.standard_normal((n - 1, len(target)))
    around_ND -= np.outer(around_ND @ target, target)
    around_ND /= np.linalg.norm(around_ND, axis=1, keepdims=True)
    return np.concatenate(
        [target[None], np.cos(angle_N)[:, None] * target + np.sin(angle_N)[:, None] * around_ND]
    )


def _neighbors(
    wanted_D: Floats, given: ArrayLike | None, within: float, n: int, seed: int
) -> Floats:
    if given is not None:
        directions = np.array(
            [direction_of(row) for row in np.atleast_1d(np.asarray(given, float))]
        )
        check(
            "neighbors",
            directions.shape,
            directions.shape == (n, len(wanted_D)),
            f"be {n} directions of {len(wanted_D)} axes (or angles)",
        )
        return directions
    check("within", within, 0 <= within <= 90, "lie between 0 and 90 degrees")
    if len(wanted_D) == 2:
        angle = float(np.degrees(np.arctan2(wanted_D[1], wanted_D[0])))
        return np.array([direction_of(a) for a in near_angles(round(angle, 9), within=within, n=n)])
    return near_directions(wanted_D, within=within, n=n, seed=seed)
