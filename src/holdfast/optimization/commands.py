"""`holdfast optimize`: one group of commands a problem, each made when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

# group -> the module whose `app` holds its commands
GROUPS: dict[str, str] = {
    "two-stage": "holdfast.optimization.two_stage.commands",
    "robust-mdp": "holdfast.optimization.robust_mdp.commands",
    "pareto": "holdfast.optimization.pareto.commands",
}


class Problems(TyperGroup):
    """The problems in the order of `GROUPS`."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(GROUPS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in GROUPS:
            return None
        group = typer.main.get_command(import_module(GROUPS[cmd_name]).app)
        group.name = cmd_name
        return group


optimize_app = typer.Typer(
    cls=Problems,
    no_args_is_help=True,
    help="Robust decisions: problems that are solved with a certificate.",
)


@optimize_app.callback()
def _optimize() -> None:
    """Robust decisions: problems that are solved with a certificate."""
