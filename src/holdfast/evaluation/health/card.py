"""`holdfast evaluate REWARD --health`: look a reward over before anything is trained on it.

card = health("runs/rewards", data="held_out.jsonl")
card.findings                      # severity, what was found, and the cure
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Group, RenderableType
from rich.table import Table as Screen
from rich.text import Text as Line

from holdfast.data.reading import Reading
from holdfast.errors import DataError, OptionError
from holdfast.evaluation.evaluation import plain_json
from holdfast.evaluation.health import measures
from holdfast.evaluation.health.finding import WORST_FIRST, Finding, skipped
from holdfast.evaluation.health.measures import Scored
from holdfast.evaluation.health.page import page_of
from holdfast.evaluation.health.tokens import Classifier, token_findings
from holdfast.evaluation.models import device_for, load
from holdfast.files import write_text
from holdfast.generation import Generation, HuggingFaceGenerator
from holdfast.generation.text import text_of
from holdfast.models.judges import load_judge
from holdfast.models.load import load_tokenizer
from holdfast.rewards.ensemble import RewardEnsemble, ensemble_named
from holdfast.rewards.functions import Reward, name_of, reward_from
from holdfast.rewards.guard import Guarded
from holdfast.rewards.model import RewardModel, is_reward_model
from holdfast.stats.arrays import Floats
from holdfast.types import Row, Text
from holdfast.visible import json_text

MARKS = {
    "problem": ("x", "bold red"),
    "warning": ("!", "yellow"),
    "inconclusive": ("?", "cyan"),
    "ok": ("ok", "green"),
    "not_applicable": ("-", "dim"),
}


@dataclass(frozen=True)
class HealthCard:
    """What was found, worst first."""

    reward: str
    data: dict[str, Any]
    findings: list[Finding]
    notes: list[str] = field(default_factory=list)

    @property
    def worst(self) -> str:
        return self.findings[0].severity

    def to_dict(self) -> dict[str, Any]:
        whole: dict[str, Any] = plain_json(
            {
                "reward": self.reward,
                "data": self.data,
                "worst": self.worst,
                "findings": [one.to_dict() for one in self.findings],
                "notes": self.notes,
            }
        )
        return whole

    def write(self, path: str | Path) -> Path:
        write_text(Path(path), json_text(self.to_dict(), indent=2) + "\n")
        return Path(path)

    def table(self) -> Group:
        """For a terminal."""
        screen = Screen("", "looked at", "found", box=None, padding=(0, 1), header_style="bold")
        for one in self.findings:
            mark, style = MARKS[one.severity]
            said = Line(one.says)
            if one.cure:
                said.append(f"\n-> {one.cure}", style="bold")
            screen.add_row(Line(mark, style=style), Line(one.name), said)
        title = f"{self.reward} on {self.data['pairs']:,} pairs of {self.data['source']}"
        parts: list[RenderableType] = [Line(title, style="bold"), screen]
        return Group(*parts, *(Line(f"note: {note}") for note in self.notes))

    def report(self, path: str | Path) -> list[Path]:
        """A page with charts. Returns every path written, the page first."""
        return page_of(self.reward, self.data, self.findings).write(path)


def health(
    reward: str | Path | Reward,
    *,
    data: Any,
    against: Any = None,
    prompts: int = 256,
    samples: int = 16,
    max_new_tokens: int = 64,
    seed: int = 0,
    accept_loss: Sequence[str] = (),
    device: str = "auto",
    progress: bool = True,
    **reading: Any,
) -> HealthCard:
    """Look a reward over: whether it is invariant to what must not matter (padding, batch, form),
    reads what it should (the answer, its end, the template), agrees with the labels in all parts
    of the data, and holds on a policy's own answers.

    Args:
        reward: folder or hub name of a sequence classifier, a run or an ensemble, or a function
            named package.module:function or file.py:function; in Python also the function itself.
        data: comparisons that it was not trained on.
        against: a policy whose answers to the data's prompts are scored: drift and best-of-n.
        prompts: at most this many comparisons, drawn at random.
        samples: answers of the policy to each of up to 32 prompts.
        max_new_tokens: of those answers.
        seed: of all that is drawn.
        accept_loss: what the chat template may drop of a prompt.
        device: auto, cpu, cuda, or cuda:1.
        progress: show bars on a terminal.
        **reading: how rows are read, as for `holdfast.read`.

    Raises:
        DataError: fewer than 5 comparisons with text, or no row with two scores.
        OptionError, ModelError: the reward is none.
    """
    place = device_for(device)
    how = Reading.of(reading, "evaluate")
    read = how.rows(data, how.quarantine_file())
    rows = [
        row
        for row in read.rows
        if row.chosen is not None and row.rejected is not None and not row.tie and not row.named
    ]
    if len(rows) < 5:
        raise DataError(
            f"a health card reads comparisons, and there are {len(rows)} with two texts",
            hint="rows with prompt, chosen and rejected; 100 or more say something",
        )
    told = str(data) if isinstance(data, str | Path) else "rows in memory"
    rng = np.random.default_rng(seed)
    drawn = sorted(rng.permutation(len(rows))[:prompts].tolist())
    rows = [rows[i] for i in drawn]
    function = reward_from(reward, device=place, accept_loss=accept_loss)
    guarded = Guarded(function)
    scored, lost = scored_rows(rows, guarded)
    faults = [_fault(one, rows, len(rows)) for one in guarded.faults.values()]
    probing = Guarded(function)
    found: list[Finding] = [*faults, measures.constant(scored)]
    if found[-1].severity != "problem":
        found += _of_any(scored, probing, seed, log_odds=_is_model(reward))
    else:
        found.append(measures.batches(scored, probing))
    classifier = _classifier(reward, place)
    if classifier is not None:
        found += token_findings(scored, classifier)
    found.append(_ensemble(reward, scored, place))
    notes = [f"skipped {count:,}: {why}" for why, count in read.report.skipped.items()]
    notes += [f"{lost:,} of {len(rows):,} comparisons have no score and are left out"] * bool(lost)
    if against is None:
        found.append(skipped("drift", "no policy was given: --against MODEL"))
        found.append(skipped("best of n", "no policy was given: --against MODEL"))
    else:
        policy_answers = _answers(against, scored, samples, max_new_tokens, seed, place, progress)
        asked, answers_PS = policy_answers
        flat = (
            [prompt for prompt in asked for _ in range(samples)],
            [answer for row in answers_PS for answer in row],
        )
        score_PS = probing(*flat).reshape(len(asked), samples)
        found += [measures.drift(scored, answers_PS, score_PS), measures.best_of(score_PS)]
    known = {one.kind for one in guarded.faults.values()}
    for one in probing.faults.values():
        if one.kind not in known:
            notes.append(
                f"on probes (empty, edited or a policy's answers) it {one.says}, {one.count:,} "
                f"times; {one.cure}"
            )
    return HealthCard(
        reward=name_of(reward),
        data={"source": told, "pairs": len(scored.rows), "seed": seed},
        findings=sorted(found, key=lambda one: WORST_FIRST.index(one.severity)),
        notes=notes,
    )


def scored_rows(rows: Sequence[Row], score: Guarded) -> tuple[Scored, int]:
    """The rows with two scores, and how many have none."""
    prompts = [row.prompt for row in rows]
    sides = [[answer_text(cast(Text, getattr(row, s))) for row in rows] for s in SIDES]
    # one call for both sides, as a trainer's batch holds both
    both = score([*prompts, *prompts], [*sides[0], *sides[1]])
    chosen_N, rejected_N = np.split(both, 2)
    kept = np.flatnonzero(~np.isnan(chosen_N) & ~np.isnan(rejected_N)).tolist()
    if not kept:
        said = "; ".join(f"it {one.says}: {one.cure}" for one in score.faults.values())
        raise OptionError(
            f"the reward gives no comparison two scores: {said}",
            hint="reward(prompts, answers) returns one number for each answer",
        )
    made = Scored(
        [rows[i] for i in kept],
        [prompts[i] for i in kept],
        [sides[0][i] for i in kept],
        [sides[1][i] for i in kept],
        chosen_N[kept],
        rejected_N[kept],
        [str(prompts[i]) for i in kept],
    )
    return made, len(rows) - len(kept)


SIDES = ("chosen", "rejected")


def answer_text(text: Text) -> str:
    """An answer as a reward function reads it: the text, or the last message's."""
    return text if isinstance(text, str) else str(text[-1]["content"])


def _of_any(scored: Scored, score: Guarded, seed: int, *, log_odds: bool) -> list[Finding]:
    return [
        measures.agreement(scored),
        measures.monotonicity(scored, score, seed),
        measures.batches(scored, score),
        measures.prompt_alone(scored, score),
        measures.length(scored),
        measures.calibrated(scored, log_odds),
        measures.by_part(scored, "group", lambda row: row.group),
        measures.by_part(scored, "source", lambda row: row.source),
        measures.edits(scored, score),
    ]


def _fault(fault: Any, rows: Sequence[Row], n: int) -> Finding:
    """Scores are asked for the chosen answers first, then for the rejected ones."""
    where = ", ".join(f"{rows[i % n].where} ({SIDES[i // n]})" for i in fault.rows[:3])
    abstains = fault.kind == "none"
    return Finding(
        f"returns: {fault.kind}",
        "warning" if abstains else "problem",
        f"it {fault.says}; {fault.count:,} of {2 * n:,} answers, first {where}",
        fault.cure,
        {"count": fault.count, "rows": fault.rows},
    )


def _is_model(reward: Any) -> bool:
    return not callable(reward) and ":" not in str(reward).replace(":\\", "")


def _classifier(reward: Any, place: Any) -> Classifier | None:
    if not _is_model(reward):
        return None
    if (named := ensemble_named(reward)) is not None:
        first = RewardEnsemble.load(named[0], device=place).models[0]
        return Classifier(first.scorer.model, first.tokenizer, first)
    if is_reward_model(reward):
        own = RewardModel.load(reward, device=place)
        return Classifier(own.scorer.model, own.tokenizer, own) if own.kind.scalar else None
    model = load_judge(reward).to(place).eval()
    tokenizer = load_tokenizer(reward, model=model)
    if model.config.get_text_config().pad_token_id is None:
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return Classifier(model, tokenizer)


def _ensemble(reward: Any, scored: Scored, place: Any) -> Finding:
    named = None if callable(reward) else ensemble_named(reward)
    if named is None:
        return skipped("ensemble", "one reward, and no members: --members 4 trains an ensemble")
    ensemble = RewardEnsemble.load(named[0], device=place)
    both: list[Floats] = [
        ensemble.members(scored.prompts, side) for side in (scored.chosen, scored.rejected)
    ]
    return measures.spread(scored, both[0] - both[1])


def _answers(
    policy: Any,
    scored: Scored,
    samples: int,
    max_new_tokens: int,
    seed: int,
    place: Any,
    progress: bool,
) -> tuple[list[Text], list[list[str]]]:
    """Up to 32 prompts, and the policy's answers to each."""
    from holdfast.data.render import tokenized_prompts

    loaded = load(policy, device=place, dtype=torch.float32)
    firsts = list({name: i for i, name in reversed(list(enumerate(scored.clusters)))}.values())[:32]
    rows = [scored.rows[i] for i in sorted(firsts)]
    ids = tokenized_prompts(rows, loaded.tokenizer, template=loaded.template or "auto")
    how = Generation(max_new_tokens=max_new_tokens, seed=seed)
    generator = HuggingFaceGenerator(
        loaded.model, loaded.tokenizer, bar="answers of the policy" * progress
    )
    drawn = generator(ids, samples=samples, seeds=how.seeds(len(ids)), generation=how)
    texts = [[text_of(loaded.tokenizer, answer) for answer in row] for row in drawn]
    return [row.prompt for row in rows], texts
