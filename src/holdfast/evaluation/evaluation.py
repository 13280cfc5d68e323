"""`evaluate`: everything about a policy that held-out rows can tell, against its reference, with
intervals, for each group.

    evaluate("runs/rdpo", data="held_out.jsonl").table()

Ranking and margins come from the rows' own answers; lengths, divergence and win rate from answers
that the models write to the rows' prompts. What cannot be told (one prompt, no reference, no
reward) is said to be n/a, and no row is skipped without being counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Group

from holdfast.card import check
from holdfast.data.conservation import Loss
from holdfast.data.reading import Reading
from holdfast.errors import OptionError
from holdfast.evaluation.kl import sample_kl
from holdfast.evaluation.models import device_for, load, same_tokens, smallest_window
from holdfast.evaluation.parts import Found, Part, worst_groups
from holdfast.evaluation.ranking import accuracies
from holdfast.evaluation.rows import held_rows
from holdfast.evaluation.samples import Samples, best_of_samples
from holdfast.evaluation.show import tables
from holdfast.evaluation.winrate import Match, play_judge, play_reward
from holdfast.evaluation.writing import Writer
from holdfast.files import write_text
from holdfast.generation import Generation
from holdfast.rewards.functions import Judge, Reward, judge_from, name_of, reward_from
from holdfast.typed import values_of
from holdfast.visible import json_text


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found. `all` is over every row, `groups` over each group's, `worst_group`
    names the lowest group of each number.

    `texts` keeps the prompts, the answers written to them and their rewards, for whoever wants to
    read them. `per_row` keeps the verdict of each ranking on each comparison (1, 1/2 or 0), and is
    not part of the JSON.
    """

    model: dict[str, Any]
    reference: dict[str, Any] | None
    against: dict[str, Any] | None
    data: dict[str, Any]
    settings: dict[str, Any]
    all: Part
    groups: dict[str, Part]
    worst_group: dict[str, str]
    notes: list[str]
    texts: list[dict[str, Any]] = field(default_factory=list, repr=False)
    per_row: dict[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: no NaN, no infinity."""
        out = {
            name: getattr(self, name)
            for name in (
                "model",
                "reference",
                "against",
                "data",
                "settings",
                "worst_group",
                "notes",
            )
        }
        whole: dict[str, Any] = plain_json(
            out
            | {
                "all": vars(self.all),
                "groups": {name: vars(part) for name, part in self.groups.items()},
                "texts": self.texts,
            }
        )
        return whole

    def to_json(self) -> str:
        return json_text(self.to_dict(), indent=2)

    def write(self, path: str | Path) -> Path:
        path = Path(path)
        write_text(path, self.to_json() + "\n")
        return path

    def table(self) -> Group:
        """What a reader wants to see, for `rich.print`."""
        return tables(self)

    def report(self, path: str | Path) -> list[Path]:
        """Write a page that works from disk alone, with its charts as pictures beside it. Returns
        every path written, the page first.
        """
        from holdfast.evaluation.page import page_of

        return page_of(self).write(path)


def evaluate(
    model: Any,
    *,
    data: Any,
    reference: Any = None,
    against: Any = None,
    reward: str | Path | Reward | None = None,
    judge: str | Judge | None = None,
    best_of: int = 1,
    select: str | Path | Reward | None = None,
    by: str = "group",
    beta: float | None = None,
    prompts: int = 256,
    samples: int = 1,
    bootstrap: int = 1000,
    seed: int = 0,
    template: Literal["auto", "chat", "plain", "none"] | None = None,
    accept_loss: tuple[Loss, ...] = (),
    tokenizer: Any = None,
    max_tokens: int | None = None,
    batch: int = 64,
    device: str = "auto",
    dtype: Literal["float32", "bfloat16"] = "float32",
    trust_remote_code: bool = False,
    progress: bool = True,
    **reading_and_generation: Any,
) -> Evaluation:
    """Evaluate a policy on rows it was not trained on.

    Every interval is a 95% bootstrap over prompts (rows that share a prompt are drawn together).
    The divergence KL(policy || reference) is estimated from answers sampled at temperature 1, in
    nats an answer, by three estimators under their names. The global random state is left alone.

    Args:
        model: folder of a run or of a model, or a name on the hub. In Python also a loaded model,
            with its `tokenizer`.
        data: held-out rows: a file, a folder, or the name of a dataset on the hub; several are read
            as one. In Python also rows as `holdfast.read` returns them.
        reference: the model to measure the policy against; a run's own reference unless given.
        against: the opponent of the win rate; the reference unless given.
        reward: what scores the answers: folder of a reward model, or a function named
            package.module:function or file.py:function. In Python also the function itself,
            `reward(prompts, answers) -> scores`.
        judge: what compares two answers, asked in both orders: folder of a preference model, or a
            function named as for `reward`. In Python also the function itself, `judge(prompts,
            first, second) -> P(first is better)`.
        best_of: draw this many answers of the policy for each one that is judged, and keep the best
            under `select`; the opponent draws one. The KL stays that of the policy itself.
        select: the reward that chooses among them, named as for `reward`; take another than the one
            that judges, or the choice is judged by its own errors.
        by: the column that tells groups apart: group, rater, source, or one of the file's own.
        beta: strength of the KL penalty at which the exact optimum is asked how well it would rank;
            the run's own unless given. A range of betas is always shown.
        prompts: number of the data's prompts that the models answer, drawn at random; 0 for none.
        samples: answers to each of those prompts.
        bootstrap: resamples of each interval; 0 for no intervals.
        seed: seed of the prompts, answers and resamples drawn.
        template: how prompts are rendered; as the run was trained unless given, else the model's
            chat template if it has one.
        accept_loss: what the chat template may drop of a row, besides what the run accepted; a row
            that loses anything else is an error, or goes to the quarantine.
        tokenizer: the policy's, where `model` is a loaded model or brings none.
        max_tokens: longest row; a longer one is an error, or goes to the quarantine.
        batch: answers generated at once.
        device: auto, cpu, cuda, or cuda:1.
        dtype: precision of the forward passes.
        trust_remote_code: run code that comes with a model.
        progress: show a bar on a terminal.
        **reading_and_generation: how rows are read, fields of `holdfast.data.Reading`; and how the
            answers that are compared and measured are drawn, fields of `Generation` but for its
            seed (max_new_tokens is 128 unless given).

    Raises:
        DataError: rows that cannot be used. ModelError: models that are not what they say, or do
            not share a vocabulary.
        NeedError: the rows are matches between names, without texts.
        OptionError: a judge and a reward together, a reward that returns no finite numbers, an
            unknown `by`.
    """
    how_read, generation = values_of(
        {"max_new_tokens": 128, "seed": seed, **reading_and_generation},
        "evaluate",
        Reading,
        Generation,
    )
    _check(reward, judge, samples, prompts, bootstrap)
    chooser = _chooser(best_of, select)
    if beta is not None:
        check("beta", beta, 0 < beta < math.inf, "be above 0 and finite")
    place = device_for(device)
    how: dict[str, Any] = {
        "device": place,
        "dtype": getattr(torch, dtype),
        "trust_remote_code": trust_remote_code,
    }
    policy = load(model, tokenizer=tokenizer, **how)
    ref_source = reference if reference is not None else policy.own_reference
    ref = load(ref_source, tokenizer=policy.tokenizer, **how) if ref_source is not None else None
    rival = load(against, **how) if against is not None else None
    if ref is not None:
        same_tokens(policy, ref)
    how_rendered = template or policy.template or "auto"
    losses = tuple(dict.fromkeys((*accept_loss, *policy.accept_loss)))
    rendering: dict[str, Any] = {
        "template": how_rendered,
        "accept_loss": losses,
        "max_tokens": max_tokens,
    }
    held = held_rows(data, policy.tokenizer, by=by, reading=how_read, seed=seed, **rendering)
    scores, said = held.scores(policy, ref)
    window = smallest_window([loaded for loaded in (policy, ref, rival) if loaded is not None])
    writer = Writer(
        held, prompts, samples, generation, batch, how_rendered, losses, progress, window
    )
    drawn = writer.write(policy, "policy", times=best_of)
    written = (
        drawn
        if chooser is None or not writer.chosen
        else best_of_samples(
            drawn, reward_from(chooser, device=place, accept_loss=losses), name_of(chooser), best_of
        )
    )
    ref_written = writer.write(ref, "reference", stream=1) if ref is not None else None
    rival_written = (
        writer.write(rival, "opponent", stream=1, own_tokens=True)
        if rival is not None
        else ref_written
    )
    divergence = None
    if ref is not None and writer.chosen:
        honest = (
            drawn
            if generation.plain
            else writer.write(
                policy,
                "policy at temperature 1",
                generation=Generation(generation.max_new_tokens, seed=seed),
                stream=2,
            )
        )
        divergence = honest.clusters, sample_kl(policy.model, ref.model, honest.flat)
    match = _match(reward, judge, place, losses, written, rival_written) if writer.chosen else None
    own = policy.own
    beta = beta if beta is not None else own.beta if own is not None else None
    found = Found(
        held,
        scores,
        written,
        ref_written,
        rival_written if rival else None,
        divergence,
        match,
        beta,
        own,
        bootstrap,
        seed,
    )
    groups = {name: found.part(held.rows_of(name), writer.prompts_of(name)) for name in held.groups}
    settings = {
        "by": by,
        "beta": beta,
        "objective": own.describe() if own is not None else None,
        "prompts": len(writer.chosen),
        "samples": samples,
        **generation.to_dict(),
        "bootstrap": bootstrap,
        "seed": seed,
        "template": how_rendered,
        "accept_loss": list(losses),
        "dtype": dtype,
        "device": str(place),
        "reward": name_of(reward) if reward is not None else None,
        "judge": name_of(judge) if judge is not None else None,
        "best_of": best_of,
        "select": name_of(select) if select is not None else None,
        "opponent": "against" if rival else "reference" if ref else None,
    }
    return Evaluation(
        model=policy.describe(),
        reference=ref.describe() if ref else None,
        against=rival.describe() if rival else None,
        data=held.describe(),
        settings=settings,
        all=found.part(np.arange(len(held.pairs)), np.arange(len(writer.chosen))),
        groups=groups,
        worst_group=worst_groups(groups),
        notes=[
            *filter(None, [policy.note if ref is None else ""]),
            *held.notes,
            *said,
            *writer.notes,
            *([] if ref else [NO_REFERENCE]),
        ],
        texts=_texts(written, rival_written, match),
        per_row=accuracies(scores),
    )


NO_REFERENCE = (
    "no reference: divergence, implicit reward and movements are n/a; hint: --reference MODEL"
)


def _check(reward: Any, judge: Any, samples: int, prompts: int, bootstrap: int) -> None:
    if reward is not None and judge is not None:
        raise OptionError(
            "a reward and a judge were both given", hint="evaluate twice, once with each"
        )
    if (reward is not None or judge is not None) and prompts == 0:
        raise OptionError(
            "a reward or a judge was given, but no prompts are to be answered", hint="--prompts 256"
        )
    if samples < 1 or prompts < 0 or bootstrap < 0:
        raise OptionError(
            f"samples {samples}, prompts {prompts} and bootstrap {bootstrap} cannot be negative, "
            "nor samples 0"
        )


def _chooser(best_of: int, select: Any) -> Any:
    """Who chooses among several answers, None where there is one."""
    check(
        "best_of",
        best_of,
        isinstance(best_of, int) and best_of >= 1,
        "be a whole number of at least 1",
    )
    if best_of > 1 and select is None:
        raise OptionError(
            f"best_of is {best_of}, but nobody says which answer is best", hint="--select REWARD"
        )
    if best_of == 1 and select is not None:
        raise OptionError(
            "select chooses among several answers, and best_of is 1", hint="--best-of 5"
        )
    return select


def _match(
    reward: Any,
    judge: Any,
    device: torch.device,
    accept_loss: Sequence[str],
    policy: Samples,
    rival: Samples | None,
) -> Match | None:
    if judge is not None:
        return play_judge(
            judge_from(judge, device=device, accept_loss=accept_loss), name_of(judge), policy, rival
        )
    if reward is None:
        return None
    return play_reward(
        reward_from(reward, device=device, accept_loss=accept_loss), name_of(reward), policy, rival
    )


def _texts(policy: Samples, rival: Samples | None, match: Match | None) -> list[dict[str, Any]]:
    out = []
    for p, prompt in enumerate(policy.prompts):
        entry: dict[str, Any] = {
            "prompt": prompt if isinstance(prompt, str) else [dict(m) for m in prompt],
            "policy": list(policy.texts[p]),
        }
        if rival is not None:
            entry["opponent"] = list(rival.texts[p])
        if match is not None and match.reward_PS is not None:
            entry["policy_reward"] = match.reward_PS[p].tolist()
        if match is not None and match.rival_reward_PS is not None:
            entry["opponent_reward"] = match.rival_reward_PS[p].tolist()
        out.append(entry)
    return out


def plain_json(value: Any) -> Any:
    """The same with NaN and infinity, which JSON does not have, as None."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
