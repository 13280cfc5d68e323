"""`holdfast optimize robust-mdp`: solve, shift, learn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track
from rich.table import Table

from holdfast.card import check
from holdfast.files import folder_to_write, write_json
from holdfast.optimization.robust_mdp import DIVERGENCES, NOMINAL, WORLDS, evaluate, optimum
from holdfast.optimization.robust_mdp import worlds as worlds_of
from holdfast.optimization.robust_mdp.learner import PolicyStep, dr_rpo, fixed_reference, mirror
from holdfast.optimization.robust_mdp.page import regret_page, shift_page
from holdfast.optimization.robust_mdp.shift import around, parting_radius, shifts
from holdfast.stats.intervals import Estimate, mean_interval
from holdfast.terminal import Terminal
from holdfast.visible import json_text

HELP = "Plans and learners that are robust to a shift of the transition kernel (DR-RPO)."
app = typer.Typer(no_args_is_help=True, help=HELP)
out = Terminal()
err = Terminal(stderr=True)

Place = Annotated[
    str, typer.Argument(help=f"{', '.join(WORLDS)}; or an .npz file with transition and reward")
]
Set = Annotated[
    str, typer.Option("--set", help=f"divergence of the ball: {', '.join(DIVERGENCES)}")
]
Radius = Annotated[float, typer.Option(help="radius of the ball, in units of the divergence")]
Horizon = Annotated[int | None, typer.Option(help="steps; the world's own unless given")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object for machines")]
READINGS = {"mirror": mirror, "fixed-reference": fixed_reference}


@app.command()
def solve(
    world: Place,
    divergence: Set = "kl",
    radius: Radius = 0.1,
    horizon: Horizon = None,
    as_json: Json = False,
) -> None:
    """Robust value iteration: the exact robust optimum beside the nominal one."""
    place = worlds_of.world(world, horizon=horizon)
    against = around(place, divergence, radius)
    nominal, robust = optimum(place.mdp), optimum(place.mdp, against)
    found = {
        "world": place.name,
        "set": against.name,
        "horizon": place.mdp.horizon,
        "nominal_policy": {
            "nominal_value": nominal.value,
            "robust_value": evaluate(place.mdp, nominal.policy_HSA, against).value,
        },
        "robust_policy": {
            "nominal_value": evaluate(place.mdp, robust.policy_HSA).value,
            "robust_value": robust.value,
        },
    }
    if as_json:
        print(json_text(found, indent=1))
        return
    table = Table("policy", "return under the nominal kernel", "under the worst of the set")
    for name in ("nominal_policy", "robust_policy"):
        row: Any = found[name]
        cells = (f"{row['nominal_value']:.6g}", f"{row['robust_value']:.6g}")
        table.add_row(name.replace("_", " "), *cells)
    out.print(table)


@app.command()
def shift(
    world: Place,
    divergence: Set = "kl",
    radius: Radius = 0.1,
    most: Annotated[float, typer.Option(help="largest radius tried for the parting")] = 1.0,
    horizon: Horizon = None,
    folder: Annotated[
        Path, typer.Option("--out", help="where shift.html, its picture and shift.json go")
    ] = Path("robust-mdp"),
    as_json: Json = False,
) -> None:
    """Nominal and robust policies under shifted kernels, and the radius at which they part."""
    folder_to_write(folder)
    place = worlds_of.world(world, horizon=horizon)
    against = around(place, divergence, radius)
    nominal, robust = optimum(place.mdp), optimum(place.mdp, against)
    rows = shifts(place, nominal, robust)
    with err.status("the radius at which the policies part"):
        parts = parting_radius(place, divergence, most=most, nominal=nominal)
    found = {
        "world": place.name,
        "set": against.name,
        "parting_radius": parts,
        "largest_radius_tried": most,
        "shift": place.shift,
        "rows": [vars(row) for row in rows],
    }
    write_json(folder / "shift.json", found)
    shift_page(place, against, rows, parts, most).write(folder / "shift.html")
    if as_json:
        print(json_text(found, indent=1))
        return
    table = Table(place.shift, "nominal policy", "robust policy", "best policy there")
    for row in rows:
        cells = (row.nominal, row.robust, row.best)
        table.add_row(f"{row.amount:g}", *(f"{value:.4f}" for value in cells))
    out.print(table)
    out.print(
        f"The nominal policy is optimal against {divergence} balls up to radius {most:g}."
        if parts is None
        else f"The policies part at radius {parts:.6g} ({divergence}).",
        highlight=False,
    )
    err.print(str(folder / "shift.html"), highlight=False)


@app.command()
def learn(
    world: Place,
    divergence: Set = "total_variation",
    radius: Radius = 0.3,
    step: Annotated[str, typer.Option(help="policy step: mirror or fixed-reference")] = "mirror",
    eta: Annotated[float, typer.Option(help="temperature of the policy step")] = 0.2,
    episodes: Annotated[int, typer.Option(help="training episodes of a run")] = 300,
    seeds: Annotated[int, typer.Option(help="runs")] = 5,
    beta: Annotated[float, typer.Option(help="scale of the exploration bonus")] = 1.0,
    ridge: Annotated[float, typer.Option(help="ridge of the regressions")] = 0.1,
    horizon: Horizon = None,
    folder: Annotated[
        Path, typer.Option("--out", help="where regret.html, its picture and regret.json go")
    ] = Path("robust-mdp"),
    as_json: Json = False,
) -> None:
    """DR-RPO online: exact regret over episodes, and its slope."""
    folder_to_write(folder)
    check("step", step, step in READINGS, f"be one of {', '.join(READINGS)}")
    check("seeds", seeds, seeds >= 1, "be at least 1")
    reading: PolicyStep = READINGS[step](eta)
    place = worlds_of.world(world, horizon=horizon)
    against = around(place, divergence, radius) if radius else NOMINAL
    runs = [
        dr_rpo(
            place.mdp,
            against,
            step=reading,
            eta=eta if READINGS[step] is fixed_reference else 0.0,
            features=place.features_XI,
            episodes=episodes,
            beta=beta,
            ridge=ridge,
            most=place.most,
            seed=seed,
        )
        for seed in track(
            range(seeds), "runs", console=err, transient=True, disable=not err.is_terminal
        )
    ]
    slope: Estimate = mean_interval([run.slope() for run in runs])
    found = {
        "world": place.name,
        "set": against.name,
        "step": step,
        "episodes": episodes,
        "best": runs[0].best,
        "last_value": mean_interval([float(run.value_E[-1]) for run in runs]).to_dict(),
        "regret": mean_interval([float(run.regret_E[-1]) for run in runs]).to_dict(),
        "slope": slope.to_dict(),
    }
    write_json(folder / "regret.json", found)
    regret_page(place, against, {step: runs}).write(folder / "regret.html")
    if as_json:
        print(json_text(found, indent=1))
        return
    between = "" if slope.low is None else f" (95% interval {slope.low:.3f} to {slope.high:.3f})"
    out.print(
        f"best {runs[0].best:.4f}; after {episodes} episodes the policy is worth "
        f"{found['last_value']['value']:.4f}, mean of {seeds} runs\n"  # type: ignore[index]
        f"regret grows as episodes^{slope.value:.3f}{between}"
        if slope.value is not None
        else "no regret to fit a slope to",
        highlight=False,
    )
    err.print(str(folder / "regret.html"), highlight=False)


@app.command()
def worlds(as_json: Json = False) -> None:
    """The worlds that have a name."""
    if as_json:
        print(json_text(list(WORLDS), indent=1))
        return
    for name in WORLDS:
        out.print(name)
