"""From findings to a method: the rules, all of them, in the order in which they are tried.

A rule reads findings and nothing else. It applies where its `because` gives a reason, with the
numbers that led to it; the first one that applies is the advice, the others that apply are
alternatives. Each rule rests on a claim of the lab: where the claim came out against the paper, the
rule follows the claim. What a rule says when it does not apply is what the reader sees as ruled
out.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.checkup.present.wording import percent
from holdfast.checkup.result import FLAGGED, Finding, Severity

# half-width of a flip rate's interval up to which its value is passed on; beyond it, its lower end
SURE = 0.05
WORTH_TELLING = 0.05  # a flip rate below which nothing is gained by telling it
PLANTED = 0.2  # the rate at which `--confirm` plants the flaw that a method is advised against
MOST = 0.4  # the highest rate that it plants where the check-up cannot tell


@dataclass(frozen=True)
class Facts:
    """What the rules may look at."""

    findings: Mapping[str, Finding]

    def severity(self, name: str) -> Severity:
        return self.findings[name].severity if name in self.findings else Severity.NOT_APPLICABLE

    def flagged(self, name: str) -> bool:
        """Whether that finding is a warning or a problem."""
        return self.severity(name) in FLAGGED

    def says(self, name: str) -> str:
        return self.findings[name].says if name in self.findings else ""

    def number(self, name: str, key: str) -> Any:
        """A number of that finding; None where it has none."""
        return self.findings[name].numbers.get(key) if name in self.findings else None

    @property
    def flip(self) -> float | None:
        """The flip rate to tell a method: as it was found, or the lower end where the interval is
        wide, since too little told does no harm and too much does; None where it was not
        identified."""
        found = self.number("label_noise", "flip_rate")
        if (
            not self.number("label_noise", "identified")
            or not found
            or found["value"] is None
            or found["low"] is None
        ):
            return None
        wide = found["high"] - found["low"] > 2 * SURE
        return round(min(found["low"] if wide else found["value"], 0.49), 2)


@dataclass(frozen=True)
class Rule:
    """`because(facts)` is the reason why it applies, None where it does not; `otherwise(facts)` is
    then why not.
    """

    method: str
    because: Callable[[Facts], str | None]
    otherwise: Callable[[Facts], str]
    claim: str  # page of docs/claims that it rests on
    rests_on: str  # what that claim says, in a sentence
    settings: Callable[[Facts], dict[str, Any]] = lambda facts: {}
    reduction: str | None = None
    flaw: str | None = (
        # what `--confirm` plants to try it, as `holdfast lab stress` names it; None: what is there
        # is enough
        "uniform"
    )
    rates: Callable[[Facts], tuple[float, float]] = lambda facts: (
        PLANTED,
        PLANTED,
    )  # the lowest and the highest rate that it plants


@dataclass(frozen=True)
class Choice:
    """A method with its settings, why, and what that rests on."""

    method: str
    settings: Mapping[str, Any]
    reduction: str | None
    reason: str
    claim: str
    rests_on: str
    flaw: str | None
    rates: tuple[float, float] = (PLANTED, PLANTED)
    verb: str = "train"

    @property
    def label(self) -> str:
        """ "rdpo --flip-rate 0.21"."""
        return " ".join([self.method, *self.flags])

    @property
    def arm(self) -> str:
        """As `holdfast lab stress` writes it: "rdpo:flip_rate=0.21"."""
        settings = [f"{name}={value:g}" for name, value in self.settings.items()]
        return ":".join(
            filter(
                None,
                [
                    self.method,
                    ",".join(
                        settings + ([f"reduction={self.reduction}"] if self.reduction else [])
                    ),
                ],
            )
        )

    @property
    def flags(self) -> list[str]:
        flags = [
            word
            for name, value in self.settings.items()
            for word in (f"--{name.replace('_', '-')}", f"{value:g}")
        ]
        return flags + (["--reduction", self.reduction] if self.reduction else [])


@dataclass(frozen=True)
class Advice:
    """What to train, why, what else would do, what was ruled out, what to do to the data first, and
    the command.

    `choices[0]` is the advice. `ruled_out` and `first` are sentences. `command` can be pasted into
    a shell as it is, M aside.
    """

    choices: tuple[Choice, ...]
    ruled_out: tuple[tuple[str, str], ...] = ()  # method, why not
    first: tuple[str, ...] = ()
    command: str = ""
    open_questions: tuple[str, ...] = field(
        default=()
    )  # what could not be told, and so did not speak for or against anything

    @property
    def best(self) -> Choice:
        return self.choices[0]

    def to_dict(self) -> dict[str, Any]:
        return {
            "method": self.best.method,
            "settings": dict(self.best.settings),
            "reduction": self.best.reduction,
            "command": self.command,
            "choices": [
                {**vars(choice), "settings": dict(choice.settings)} for choice in self.choices
            ],
            "ruled_out": [{"method": method, "why": why} for method, why in self.ruled_out],
            "first": list(self.first),
            "open_questions": list(self.open_questions),
        }


# ------------------------------------------------------------ the rules


def _opposed_groups(facts: Facts) -> str | None:
    return (
        facts.says("subgroups")
        if facts.flagged("subgroups") and facts.number("subgroups", "opposed_column") == "group"
        else None
    )


def _no_groups(facts: Facts) -> str:
    if facts.flagged("subgroups"):
        return (
            "there are preference subgroups, but no `group` column that names them, and this "
            "reduction weights known groups"
        )
    return (
        "no known groups with opposed preferences were found; where groups merely differ in noise "
        "it does harm"
    )


def _careless_raters(facts: Facts) -> str | None:
    return facts.says("raters") if facts.number("raters", "differ") else None


def _cycles(facts: Facts) -> str | None:
    return facts.says("cycles") if facts.severity("cycles") is Severity.PROBLEM else None


def _few_cycles(facts: Facts) -> str:
    if facts.flagged("cycles"):
        return (
            "there are more cycles than chance gives, but they explain a small part of the verdicts"
        )
    return "no cycles were found, and without them DPO does as well"


def _known_flips(facts: Facts) -> str | None:
    if facts.flip is None or facts.flip < WORTH_TELLING or facts.flagged("length_bias"):
        return None
    return (
        f"{facts.says('label_noise')} At a fixed beta, a method given a flip rate of "
        f"{percent(facts.flip, 0)} ends closer to the clean optimum."
    )


def _no_flips(facts: Facts) -> str:
    if facts.flip is None:
        return (
            "the flip rate could not be identified, and overstating it hurts: plain DPO with its "
            "beta tuned does as well"
        )
    if facts.flagged("length_bias"):
        return "verdicts favor length, and rdpo assumes flips that do not depend on the pair"
    found = facts.number("label_noise", "flip_rate")
    if found["high"] >= WORTH_TELLING:
        between = (
            f"{percent(found['low'], 0)} to {percent(found['high'], 0)} of the labels may be "
            "flipped"
        )
        return (
            f"{between}. The lower bound is too small to help and overstating the rate hurts, so "
            "plain DPO"
        )
    return f"only {percent(facts.flip, 0)} of the labels are flipped: too few for the rate to help"


def _length(facts: Facts) -> str | None:
    return facts.says("length_bias") if facts.flagged("length_bias") else None


def _still_allowed(facts: Facts) -> tuple[float, float]:
    """Flips to plant where plain DPO is advised: the situation that this advice was given for, at
    its worst.

    Where the rate f was found, and is too low to be worth telling: what brings f to the upper end
    of its interval, or, if that is more, to `WORTH_TELLING`, the rate up to which this advice is
    given. Flips p that are planted and f that are there make f + p - 2 f p. Where the
    rate cannot be told: from none to the most that there may be.
    """
    found = facts.number("label_noise", "flip_rate")
    if found and found["value"] is not None and found["high"] is not None:
        value = min(found["value"], MOST)
        worst = (max(found["high"], WORTH_TELLING) - value) / (1 - 2 * value)
        return (rate := round(min(max(worst, 0.01), MOST), 3)), rate
    model = facts.number("label_noise", "model")
    most = min(model["high"], model["bound"], MOST) if model else MOST
    return 0.0, max(round(most, 2), WORTH_TELLING)


RULES: tuple[Rule, ...] = (
    Rule(
        "dpo",
        _opposed_groups,
        _no_groups,
        "worst_group",
        "With opposed preferences the worse-off group has less regret under `groups`; people "
        "on average pay for it.",
        reduction="groups",
        flaw=None,
        rates=lambda facts: (0.0, 0.0),
    ),
    Rule(
        "lcpo_dpo",
        _careless_raters,
        lambda facts: (
            "raters are unknown, or their reliabilities do not differ detectably, and then it "
            "learns nothing that DPO does not"
        ),
        "lcpo_learns_reliability",
        "Told who labeled, it learns the raters' reliabilities and ends closer to the "
        "clean optimum than rDPO told their mean.",
        flaw="rater",
    ),
    Rule(
        "srpo",
        _cycles,
        _few_cycles,
        "srpo_behavior",
        "With circular preferences what it learns depends less on which answers happened "
        "to be compared than DPO's policy does.",
        flaw="cycles",
    ),
    Rule(
        "ln_dpo",
        _length,
        lambda facts: "verdicts do not favor length enough",
        "ln_dpo_lengths",
        "At the same KL it has more than twice DPO's gold reward where raters like length.",
        flaw="length",
    ),
    Rule(
        "rdpo",
        _known_flips,
        _no_flips,
        "rdpo_survives_flips",
        "Told the rate, or a little less, it ends closer to the clean optimum than DPO at "
        "the same beta; DPO with its beta tuned ties.",
        settings=lambda facts: {"flip_rate": facts.flip},
    ),
    Rule(
        "dpo",
        lambda facts: (
            "With its beta tuned on held-out rows it is what every other choice has to beat."
        ),
        lambda facts: "",
        "baselines_at_matched_kl",
        "At the same KL, cDPO, IPO and KTO are within 0.05 of it on clean labels.",
        rates=_still_allowed,
    ),
)
NEVER = (
    (
        "dpo --reduction kl, chi_square, cvar",
        "mislabeled pairs have high loss, so worst-case reductions give weight to exactly the "
        "wrong rows",
    ),
)


NAMES_ALONE = Choice(
    "lab games",
    {},
    None,
    "The rows say which names beat which, and hold no texts to train a language model on. "
    "Who should be chosen how often is a game.",
    "selfplay_cycles",
    "Where preferences go around, the equilibrium of the game is harder to beat than what "
    "DPO ends at.",
    None,
    verb="run",
)


def advise(
    findings: Mapping[str, Finding],
    *,
    data: str | Sequence[str] = "prefs.jsonl",
    reading: tuple[str, ...] = (),
    named: bool = False,
) -> Advice:
    """The advice that follows from these findings.

    Args:
        findings: by the name of the probe
        data: what `--data` is to be, in the command; of several files each
        reading: further flags of the command, that say how the data are to be read
        named: whether the rows hold names that met, and no texts
    """
    facts, files = Facts(findings), [data] if isinstance(data, str) else list(data)
    first = tuple(
        f"{finding.title}: {finding.remedy}"
        for finding in findings.values()
        if finding.remedy and finding.severity in FLAGGED
    )
    unsure = tuple(
        f"{f.title}: {f.cannot}"
        for f in findings.values()
        if f.cannot and f.severity is Severity.INCONCLUSIVE
    )
    if named:
        return Advice(
            (NAMES_ALONE,), (), first, shlex.join(["holdfast", "lab", "games", *files]), unsure
        )
    reasons = [(rule, rule.because(facts)) for rule in RULES]
    choices = tuple(
        Choice(
            rule.method,
            rule.settings(facts),
            rule.reduction,
            reason,
            rule.claim,
            rule.rests_on,
            rule.flaw,
            rule.rates(facts),
        )
        for rule, reason in reasons
        if reason is not None
    )
    ruled_out = tuple(
        (_name(rule), rule.otherwise(facts)) for rule, reason in reasons if reason is None
    )
    words = [
        "holdfast",
        "train",
        choices[0].method,
        "--model",
        "M",
        *(word for file in files for word in ("--data", file)),
        *choices[0].flags,
        *reading,
    ]
    return Advice(choices, (*ruled_out, *NEVER), first, shlex.join(words), unsure)


def _name(rule: Rule) -> str:
    return f"{rule.method} --reduction {rule.reduction}" if rule.reduction else rule.method
