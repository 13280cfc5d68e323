"""`holdfast train METHOD`, `holdfast train-reward KIND` and `holdfast selfplay`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.screen import AS_JSON, CTX, print_json
from holdfast.errors import OptionError
from holdfast.flags import P, as_command, flag, flags_of, given, in_a_shell, reading_flags


def train(name: str) -> Any:
    """`holdfast train NAME`."""
    from holdfast.methods import get
    from holdfast.training import policy

    return _training("train", name, get(name), policy.train)


def train_reward(name: str) -> Any:
    """`holdfast train-reward NAME`."""
    from holdfast.rewards import get
    from holdfast.training import reward_model

    return _training(
        "train-reward", name, get(name), reward_model.train_reward, reward_model.DEFAULTS
    )


def _training(
    verb: str,
    name: str,
    method: Any,
    function: Callable[..., Any],
    changed: Mapping[str, Any] | None = None,
) -> Any:
    """The flags of a training function, of its options (where `changed` are the function's own
    defaults), and the method's own signature.
    """
    from holdfast.card import settings_of
    from holdfast.pages import help_of, summary_of
    from holdfast.training import options
    from holdfast.typed import kinds_of

    defaults, helps = {**vars(options.Options()), **(changed or {})}, options.helps()
    kinds, what = kinds_of(method.objective), f"What {name} reads"
    own = [
        flag(s, kinds[s], p.default, help_of(method, s), what)
        for s, p in settings_of(method.objective).items()
    ]
    shared = [
        flag(o, kind, defaults[o], in_a_shell(helps[o], helps), "How the run is carried out")
        for o, kind in options.kinds(own=True).items()
    ]
    fixed = flags_of(
        function, leave_out=("method", "kind", "tokenizer"), panel="What goes in and out"
    )
    show = flag(
        "show",
        int,
        0,
        "print this many rendered rows with the response tokens marked, and stop",
        "What goes in and out",
    )
    json_flag = P(
        "as_json",
        P.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[
            bool, typer.Option("--json", help="print the run's record at the end")
        ],
    )

    def command(ctx: typer.Context, show: int, as_json: bool, **values: Any) -> None:
        for extra in ctx.args:  # a flag that nobody reads is an error that says who does
            if not extra.startswith("--"):
                raise OptionError(
                    f"unexpected argument {extra!r}", hint=f"holdfast {verb} {name} --help"
                )
            options.split_options(method, {extra[2:].partition("=")[0].replace("-", "_"): None})
        typed = given(ctx, values)
        if show:
            from holdfast.training.show import show_rows

            show_rows(method, n=show, **typed)
            return
        run = function(name, **{"out": Path("runs") / name, **typed})
        if as_json:
            print_json(run.record)

    out_flag = [
        p.replace(default=str(Path("runs") / name)) if p.name == "out" else p for p in fixed
    ]
    doc = (
        f"{summary_of(method)}.\n\nholdfast {verb} {name} --model M --data prefs.jsonl --out "
        f"runs/{name}"
    )
    parameters = [CTX, *out_flag, show, json_flag, *own, *reading_flags(), *shared]
    return as_command(
        name, command, parameters, doc, ignore_unknown_options=True, allow_extra_args=True
    )


def selfplay(name: str) -> Any:
    """`holdfast selfplay`: flags of the function and of training; settings of the method by name,
    since any method may be played.
    """
    from holdfast.training import options
    from holdfast.training.selfplay.selfplay import OURS
    from holdfast.training.selfplay.selfplay import selfplay as play

    helps, defaults = options.helps(), options.Options()
    shared = [
        flag(o, kind, getattr(defaults, o), in_a_shell(helps[o], helps), "How each round trains")
        for o, kind in options.kinds(own=True).items()
        if o not in OURS and not o.startswith("eval_")
    ]

    def command(ctx: typer.Context, setting: list[str], as_json: bool, **values: Any) -> None:
        typed = given(ctx, values)
        for pair in setting:
            key, _, text = pair.partition("=")
            try:
                typed[key.strip()] = (
                    int(text) if text.strip().lstrip("+-").isdigit() else float(text)
                )
            except ValueError:
                raise OptionError(
                    f"--setting is {pair!r}",
                    hint="a setting of the method, such as --setting beta=1",
                ) from None
        played = play(**{"out": Path("runs") / "selfplay", **typed})
        if as_json:
            print_json(played.record)

    extra = P(
        "setting",
        P.KEYWORD_ONLY,
        default=[],
        annotation=Annotated[
            list[str],
            typer.Option(
                help="a setting of the method: beta=1; may be repeated", show_default=False
            ),
        ],
    )
    fixed = flags_of(play, leave_out=("backend", "progress"), panel="What goes in and out")
    fixed = [
        p.replace(default=str(Path("runs") / "selfplay")) if p.name == "out" else p for p in fixed
    ]
    doc = (
        "Improve a policy against its own answers by a judge's verdicts: answer, compare, "
        "take a step, again.\n\n"
        "A judge may prefer A to B, B to C and C to A: then no single answer is best, and the aim "
        "is the mixture that no policy beats. Each round of self-play steps toward it; the report "
        "has the win rate, KL and exploitability of every round.\n\n"
        "holdfast train-reward general_preference --model M --data prefs.jsonl --out runs/judge\n\n"
        "holdfast selfplay --model M --data prompts.jsonl --judge runs/judge --setting "
        "beta=1 --rounds 3"
    )
    return as_command(name, command, [CTX, *fixed, extra, AS_JSON, *reading_flags(), *shared], doc)
