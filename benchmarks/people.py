"""The room of many people on public data: docs/pluralism.md says where the files come from and what
came out.

python benchmarks/people.py adult adult.csv            # UCI Adult (with or without its header)
python benchmarks/people.py insurance insurance.csv    # medical costs
python benchmarks/people.py films movies.csv           # FiveThirtyEight, Bechdel test
python benchmarks/people.py ballots elections.jsonl    # preferential ballots: candidates, and
                                                       [count, [candidates from 1]]
python benchmarks/people.py subgroups pairs.jsonl          # comparisons with a `rater` (and a
                                                           `group`)
python benchmarks/people.py trilemma pairs.jsonl       # the same, few answers: a policy is trained
                                                       on some raters and measured on others
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from holdfast import score
from holdfast.checkup.comparisons import Comparisons
from holdfast.data import read
from holdfast.lab.worlds.rankings import swapped
from holdfast.models.load import load_policy, load_tokenizer
from holdfast.models.small import small_model
from holdfast.pluralism.groupwise import bands, groupwise, per_group, squared
from holdfast.pluralism.mixture import held_out, log_right, mixture
from holdfast.pluralism.representativeness import representativeness
from holdfast.pluralism.subsets import RULES, proportional, quality, select
from holdfast.pluralism.trilemma import trilemma, typos
from holdfast.recipes.subgroups import features_of
from holdfast.training.policy import train
from holdfast.types import Row

out = Console()
ADULT = [
    *(
        "age",
        "workclass",
        "fnlwgt",
        "education",
        "education_num",
        "marital_status",
        "occupation",
        "relationship",
        "race",
        "sex",
    ),
    *("capital_gain", "capital_loss", "hours_per_week", "native_country", "income_over_50k"),
]


def adult(path: Path, orders: int) -> None:
    """Income above 50,000 dollars, predicted online."""
    table = pd.read_csv(path, skipinitialspace=True)
    if "age" not in table.columns:
        table = pd.read_csv(path, names=ADULT, skipinitialspace=True)
    number = table[
        ["age", "education_num", "capital_gain", "capital_loss", "hours_per_week"]
    ].astype(float)
    kinds = pd.get_dummies(
        table[["workclass", "marital_status", "occupation", "relationship", "race", "sex"]].fillna(
            "?"
        )
    ).astype(float)
    y_T = (
        table.income_over_50k.astype(str)
        .str.strip()
        .isin(["1", "True", ">50K", ">50K."])
        .to_numpy(float)
    )
    groups = dict(
        zip(("under 30", "30 to 49", "50 and over"), bands(table.age, (30, 50)).T, strict=True)
    )
    groups |= {name: (table.sex == name).to_numpy() for name in ("Female", "Male")}
    groups |= {name: (table.race == name).to_numpy() for name in table.race.unique()}
    compare(
        np.column_stack([np.ones(len(table)), number / number.max(), kinds]), y_T, groups, orders
    )


def insurance(path: Path, orders: int) -> None:
    """Medical charges over the largest, predicted online."""
    table = pd.read_csv(path)
    kinds = pd.get_dummies(table[["sex", "smoker", "region"]]).astype(float)
    x_TD = np.column_stack(
        [np.ones(len(table)), table.age / 64, table.bmi / 50, table.children / 5, kinds]
    )
    groups = dict(
        zip(("under 30", "30 to 44", "45 and over"), bands(table.age, (30, 45)).T, strict=True)
    )
    groups |= {"women": (table.sex == "female").to_numpy(), "men": (table.sex == "male").to_numpy()}
    groups |= {
        "smokers": (table.smoker == "yes").to_numpy(),
        "others": (table.smoker == "no").to_numpy(),
    }
    groups |= {
        "bmi of 30 or more": (table.bmi >= 30).to_numpy(),
        "bmi below 30": (table.bmi < 30).to_numpy(),
    }
    compare(x_TD, (table.charges / table.charges.max()).to_numpy(), groups, orders)


def compare(x_TD: np.ndarray, y_T: np.ndarray, groups: dict[str, np.ndarray], orders: int) -> None:
    """Mean squared loss by group over several orders of the rows: a learner a group, and one
    learner.
    """
    active_TG = np.column_stack(list(groups.values()))
    ours, plain, used = [], [], []
    for seed in range(orders):
        order = np.random.default_rng(seed).permutation(len(y_T))
        ran = groupwise(x_TD[order], y_T[order], active_TG[order], progress=True)
        alone = groupwise(x_TD[order], y_T[order], np.zeros((len(order), 0)))
        ours.append(per_group(ran.loss_T, ran.active_TG))
        plain.append(per_group(squared(alone.prediction_T, y_T[order]), ran.active_TG))
        used.append(ran.over_own_G / ran.bound_G)
    shown = Table(
        "group",
        "rows",
        "a learner a group",
        "one learner",
        "lower in",
        "of its bound",
        title=f"squared loss, {orders} orders",
    )
    for g, name in enumerate([*groups, "all"]):
        rows = len(y_T) if name == "all" else int(active_TG[:, g].sum())
        better = sum(a[g] < b[g] for a, b in zip(ours, plain, strict=True))
        means = (f"{np.mean(side, 0)[g]:.4f}" for side in (ours, plain))
        shown.add_row(
            name, f"{rows:,}", *means, f"{better} of {orders}", f"{np.max(used, 0)[g]:.2f}"
        )
    out.print(shown)


def films(path: Path, orders: int) -> None:
    """Fifty films by money made and spent, judged by money made for each dollar spent; groups by
    the Bechdel test.
    """
    table = pd.read_csv(path)
    money = table[["budget_2013$", "domgross_2013$", "intgross_2013$"]].apply(
        pd.to_numeric, errors="coerce"
    )
    kept = (money > 0).all(axis=1)
    money, group = money[kept].to_numpy(float), table.binary[kept].tolist()

    def places(values_VM: np.ndarray) -> np.ndarray:
        return np.argsort(np.argsort(-values_VM, axis=1, kind="stable"), axis=1)

    seen, judged = places(money.T), places((money[:, 1:] / money[:, :1]).T)
    first = np.array([g == "PASS" for g in group])
    out.print(
        f"{len(group):,} films, {first.mean():.0%} pass the test; of the 50 largest "
        f"budgets {first[seen[0] < 50].mean():.0%}"
    )
    shown = Table(
        "score function",
        "pass, chosen",
        "quality",
        "pass, with quota",
        "quality with quota",
        title="50 films, means over ties",
    )
    for name, rule in RULES.items():
        quotas = proportional(group, 50)
        plain = [select(rule, seen, 50, seed=s).items for s in range(orders)]
        fair = [
            select(rule, seen, 50, group_M=group, at_least=quotas, seed=s).items
            for s in range(orders)
        ]
        row = []
        for chosen in (plain, fair):
            row += [
                f"{np.mean([first[list(c)].mean() for c in chosen]):.0%}",
                f"{np.mean([quality(rule, judged, c) for c in chosen]):.3f}",
            ]
        shown.add_row(name, *row)
    out.print(shown)


def ballots(path: Path, orders: int) -> None:
    """Half of an election's candidates chosen from 300 complete ballots, swapped against a random
    half of them, judged by all ballots.
    """
    elections = pd.read_json(path, lines=True).to_dict("records")
    elections = [
        (len(c["candidates"]), [(n, b) for n, b in c["ballots"] if len(b) == len(c["candidates"])])
        for c in elections
    ]
    elections = [(m, cast) for m, cast in elections if m >= 6 and sum(n for n, _ in cast) >= 300]
    out.print(
        f"{len(elections)} elections of 6 to {max(m for m, _ in elections)} candidates with "
        "300 complete ballots or more"
    )
    shown = Table(
        "bias",
        "score function",
        "plain",
        "with quota",
        "quota's gain, 95% over elections",
        title="quality, by all complete ballots",
    )
    for share in (0.0, 0.25, 0.5):
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in RULES}
        for at, (m, cast) in enumerate(elections):
            weight_V, all_VM = (
                np.array([n for n, _ in cast], float),
                np.argsort([[c - 1 for c in b] for _, b in cast], axis=1),
            )
            one: dict[str, list[tuple[float, float]]] = {name: [] for name in RULES}
            for order in range(orders):
                rng = np.random.default_rng([at, order])
                second_M = np.isin(np.arange(m), rng.permutation(m)[: m // 2])
                drawn_VM = all_VM[rng.choice(len(cast), 300, p=weight_V / weight_V.sum())]
                seen_VM = swapped(drawn_VM, second_M, phi=0.5, share=share, rng=rng)
                quotas = proportional(second_M.tolist(), m // 2)
                for name, rule in RULES.items():
                    sides = ({}, {"group_M": second_M.tolist(), "at_least": quotas})
                    chosen = [
                        select(rule, seen_VM, m // 2, seed=order, **side).items for side in sides
                    ]
                    one[name].append(
                        tuple(quality(rule, all_VM, c, weight_V=weight_V) for c in chosen)
                    )  # type: ignore[arg-type]
            for name, both in one.items():
                found[name].append(tuple(np.mean(both, axis=0)))  # type: ignore[arg-type]
        for name, both in found.items():
            plain_C, fair_C = np.array(both).T
            gain, half = (
                (fair_C - plain_C).mean(),
                1.96 * (fair_C - plain_C).std(ddof=1) / len(both) ** 0.5,
            )
            shown.add_row(
                f"{share:g}",
                name,
                f"{plain_C.mean():.3f}",
                f"{fair_C.mean():.3f}",
                f"{gain:+.3f} ({gain - half:+.3f} to {gain + half:+.3f})",
            )
    out.print(shown)


def trained(path: Path, orders: int) -> None:
    """The card of a small policy trained on two thirds of the raters and measured on the others;
    each group is an equal share of people.
    """
    rows = [row for row in read(path).rows if row.group and "unknown" not in row.group]
    raters = sorted({row.rater for row in rows})
    held = {
        raters[i] for i in np.random.default_rng(0).permutation(len(raters))[: len(raters) // 3]
    }
    training, judged = (
        [row for row in rows if row.rater not in held],
        [row for row in rows if row.rater in held],
    )
    population = dict.fromkeys(sorted({row.group for row in judged}), 1.0)
    how: dict[str, Any] = {
        "learning_rate": 1e-3,
        "batch_size": 32,
        "epochs": 1.0,
        "tokens_per_microbatch": 4096,
    }
    title = (
        f"{len(training):,} comparisons of {len(raters) - len(held)} raters to train on, "
        f"{len(judged):,} of {len(held)} others"
    )
    names = (
        "policy",
        "ranked right",
        "average gap",
        "worst gap",
        "of",
        "typos: draws below 0.6",
        "worst draw",
        "judgments, seconds",
    )
    shown = Table(*names, title=title)
    with TemporaryDirectory() as place:
        folder = Path(place)
        new = small_model(
            [f"{r.prompt} {r.chosen} {r.rejected}" for r in training],
            folder / "new",
            vocab=400,
            hidden=64,
            layers=2,
            max_tokens=128,
        )
        spoken = [
            {"prompt": r.prompt, "completion": side}
            for r in training
            for side in (r.chosen, r.rejected)
        ]
        start = train("sft", model=new, data=spoken, out=folder / "start", **how).model_path
        tokenizer, reference = load_tokenizer(start), load_policy(start)
        for reduction in ("mean", "groups"):
            run = train(
                "dpo",
                model=start,
                data=training,
                out=folder / reduction,
                reduction=reduction,
                beta=1.0,
                **how,
            )
            policy = load_policy(run.model_path)

            def right(request: Sequence[Row], policy: Any = policy) -> np.ndarray:
                """1 where the policy ranks as the rater did; pairs that many raters were asked
                about are scored once.
                """
                key_N = [(str(row.prompt), str(row.chosen), str(row.rejected)) for row in request]
                distinct = dict(zip(key_N, request, strict=True))
                pairs = score(policy, tokenizer, list(distinct.values()), reference=reference)
                verdict = dict(zip(distinct, (pairs.margin_N > 0).double().tolist(), strict=True))
                return np.array([verdict[key] for key in key_N])

            def slip(request: Sequence[Row], rng: np.random.Generator) -> list[Row]:
                """One way to mistype each question, the same for everybody who is asked it."""
                first = {str(row.prompt): row for row in request}
                new = dict(
                    zip(
                        first,
                        (row.prompt for row in typos(0.05)(list(first.values()), rng)),
                        strict=True,
                    )
                )
                return [replace(row, prompt=new[str(row.prompt)]) for row in request]

            card = trilemma(
                judged, right, population, floor=0.6, perturb=slip, trials=100, seed=orders
            )
            rep, rob = card.representativeness, card.robustness
            assert rob is not None
            shown.add_row(
                f"dpo, {reduction}",
                f"{rep.population:.3f}",
                f"{rep.average.value:.3f} ({rep.average.low:.3f} to {rep.average.high:.3f})",
                f"{rep.worst.value:.3f} ({rep.worst.low:.3f} to {rep.worst.high:.3f})",
                str(rep.worst_group),
                f"{rob.failures} of {rob.trials}, at most {rob.upper:.2f}",
                f"{rob.worst:.3f}",
                f"{card.evaluations:,}, {card.seconds:.0f} s",
            )
            out.print(card.table())
    out.print(shown)


def subgroups(path: Path, orders: int) -> None:
    """How many preference subgroups held-out raters believe in, what sets them apart, and whom a
    pooled reward represents.
    """
    data = Comparisons.of(read(path).rows)
    x_ND, rater_N = features_of(data), data.rater.code_N
    shown = Table(
        "subgroups",
        "log-likelihood a rater, held out",
        "gain over one, with its standard error",
        "shares",
    )
    base_R = held_out(x_ND, rater_N, k=1)
    for k in (1, 2, 3, 4):
        held_R = held_out(x_ND, rater_N, k=k, progress=True)
        gain_R = (held_R - base_R)[np.isfinite(base_R)]
        found = mixture(x_ND, rater_N, k=k)
        shares = ", ".join(f"{s:.0%}" for s in found.share_K)
        shown.add_row(
            str(k),
            f"{np.nanmean(held_R):.3f}",
            f"{gain_R.mean():.3f} ({gain_R.std(ddof=1) / len(gain_R) ** 0.5:.3f})",
            shares,
        )
    out.print(shown)
    two = mixture(x_ND, rater_N, k=2)
    out.print(
        f"two subgroups favor different answers in {two.disagreement(x_ND)[0, 1]:.1%} of the pairs"
    )
    answers = list(dict.fromkeys([*data.chosen, *data.rejected]))
    if len(answers) == two.theta_KD.shape[1] <= 12:
        for k in range(2):
            order = np.argsort(-two.theta_KD[k])
            out.print(
                f"subgroup {k + 1} ({two.share_K[k]:.0%}): "
                + " > ".join(answers[i] for i in order),
                highlight=False,
            )
    if data.group.given:
        single = mixture(x_ND, rater_N, k=1)
        right_N = (log_right(x_ND, single.theta_KD)[:, 0] > np.log(0.5)).astype(float)
        names = [data.group.names[c] if c >= 0 else None for c in data.group.code_N]
        shares = dict.fromkeys(data.group.names, 1.0)
        found = representativeness(right_N, names, shares, rater_N=[int(r) for r in rater_N])
        seen = Table(
            "group",
            "raters",
            "labels that the pooled reward ranks right",
            "from the mean",
            "95%, all groups at once",
        )
        for g in found.groups:
            seen.add_row(
                str(g.group),
                str(g.raters),
                f"{g.mean:.3f}",
                f"{g.gap.value:+.3f}",
                f"{g.gap.low:+.3f} to {g.gap.high:+.3f}",
            )
        out.print(seen)


WHAT = {
    "adult": adult,
    "insurance": insurance,
    "films": films,
    "ballots": ballots,
    "subgroups": subgroups,
    "trilemma": trained,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=list(WHAT))
    parser.add_argument("path", type=Path)
    parser.add_argument(
        "--orders",
        type=int,
        default=5,
        help="orders of the rows, draws of the ties or of the groups; of trilemma, the seed",
    )
    given = parser.parse_args()
    WHAT[given.what](given.path, given.orders)
