"""What every method promises, run over the whole table: a method that joins it inherits these
tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import signature
from math import inf, isfinite, nan

import pytest
import torch
from torch import Tensor

from holdfast.card import (
    Limit,
    Method,
    State,
    costs,
    departures_of,
    help_of,
    initial_state,
    settings_of,
)
from holdfast.errors import NeedError, OptionError
from holdfast.inputs import (
    INPUTS,
    ExtraPrompt,
    Input,
    Online,
    TokenValue,
    group,
    label,
    rater,
    reference,
    samples,
    weight,
)
from holdfast.inputs.columns import PAIR_COLUMNS
from holdfast.methods import METHODS, get
from holdfast.types import Answers, Batch, Pairs, Scored

N, T, RATERS = 5, 7, 2
ALL = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
REMEMBERING = pytest.mark.parametrize(
    "method", [m for m in METHODS.values() if m.state], ids=lambda m: m.name
)
EVERY_LIMIT = [(method, limit) for method in METHODS.values() for limit in method.card.limits]

SAMPLE_3 = ("sample_3",)
BRANCHES = [
    name
    for need in INPUTS
    if isinstance(need, ExtraPrompt | Online)
    for name in (*need.branches, *SAMPLE_3 * (need is samples))
]
OWN_REDUCTION = {"dr_dpo": "kl_best_case:temperature=1.0"}

Change = Callable[[str, Scored], Scored]


def sequences(seed: int, *, shift: float = 0.0) -> Scored:
    """N answers of 1 to T tokens, about a nat a token, with zeros in the padding."""
    generator = torch.Generator().manual_seed(seed)
    mask_NT = (torch.arange(T) < torch.randint(1, T + 1, (N, 1), generator=generator)).double()
    logp_NT, ref_logp_NT = (
        -2 * torch.rand(N, T, generator=generator, dtype=torch.float64) - 0.05 for _ in range(2)
    )
    kl_NT, activation_NTL = (
        torch.rand(N, T, generator=generator).double(),
        torch.randn(N, T, 2, generator=generator).double(),
    )
    head_NTK = torch.rand(N, T, 3, generator=generator).double()
    live = {
        "kl_NT": kl_NT * mask_NT,
        "ref_activation_NTL": activation_NTL * mask_NT[..., None],
        "head_NTK": head_NTK * mask_NT[..., None],
    }
    return Scored((logp_NT + shift / T) * mask_NT, mask_NT, ref_logp_NT * mask_NT, **live)


def batch_for(method: Method, seed: int = 0) -> Batch:
    """A batch that has everything the method needs, and everything else too."""
    generator = torch.Generator().manual_seed(seed + 100)
    inputs: dict[Input, Tensor] = {
        weight: torch.rand(N, generator=generator),
        group: torch.arange(N) % 2,
    }
    extra = {name: sequences(seed + 2 + i) for i, name in enumerate(BRANCHES)}
    if method.takes is Pairs:
        inputs[rater] = torch.arange(N) % RATERS
        for column in PAIR_COLUMNS:
            if column is not weight:
                shape = (N, 2) if len(column.columns) == 2 else (N,)
                inputs[column] = torch.rand(shape, generator=generator) * (
                    -1 if seed % 2 and column.name.endswith("gap") else 1
                )
        return Pairs(sequences(seed), sequences(seed + 1), inputs, extra)
    return Answers(sequences(seed), {**inputs, label: torch.arange(N) % 2 == 0}, extra)


def changed(batch: Batch, change: Change) -> Batch:
    return batch.with_parts({name: change(name, part) for name, part in batch.parts.items()})


def with_leaves(batch: Batch) -> tuple[Batch, dict[str, Tensor]]:
    """The batch with fresh leaf tensors as whatever carries a gradient, and those leaves,
    log-probabilities by the branch's name.
    """
    parts = {
        name: {field: x.clone().requires_grad_() for field, x in part.differentiable.items()}
        for name, part in batch.parts.items()
    }
    leaves = {
        name if field == "logp_NT" else f"{name}.{field}": x
        for name, part in parts.items()
        for field, x in part.items()
    }
    return changed(batch, lambda name, part: replace(part, **parts[name])), leaves


def without(batch: Batch, need: Input) -> Batch:
    """The batch as a run without that input would give it."""
    if isinstance(need, TokenValue):
        return changed(batch, lambda _, part: replace(part, **{need.field: None}))
    if isinstance(need, ExtraPrompt):
        return replace(
            batch,
            extra={name: part for name, part in batch.extra.items() if name not in need.branches},
        )
    if isinstance(need, Online):
        return replace(
            batch,
            extra={
                name: part for name, part in batch.extra.items() if not name.startswith(need.branch)
            },
        )
    return replace(batch, inputs={of: x for of, x in batch.inputs.items() if of is not need})


def cost_and_state(method: Method, batch: Batch, **settings: float) -> tuple[Tensor, State]:
    """As in the first batch of a run."""
    return costs(method, batch, settings, initial_state(method, RATERS))


def cost_of(method: Method, batch: Batch, **settings: float) -> Tensor:
    return cost_and_state(method, batch, **settings)[0]


def gradients(method: Method, batch: Batch, **settings: float) -> tuple[Tensor, dict[str, Tensor]]:
    batch, leaves = with_leaves(batch)
    cost_N = cost_of(method, batch, **settings)
    found = torch.autograd.grad(cost_N.sum(), list(leaves.values()), allow_unused=True)
    return cost_N.detach(), {
        name: torch.zeros_like(leaf) if g is None else g
        for (name, leaf), g in zip(leaves.items(), found, strict=True)
    }


def defaults(method: Method) -> dict[str, float]:
    return {name: p.default for name, p in settings_of(method.objective).items()}


# ------------------------------------------------------------------------------------------------
# numbers


@ALL
def test_one_cost_a_row_and_a_finite_gradient(method: Method):
    cost_N, gradient = gradients(method, batch_for(method))
    assert cost_N.shape == (N,) and cost_N.isfinite().all() and cost_N.dtype == torch.float64
    main = "chosen" if method.takes is Pairs else "answer"
    assert all(g.isfinite().all() for g in gradient.values())
    assert (gradient[main].sum(-1) != 0).any(), "the method does not push the policy"


@ALL
@pytest.mark.parametrize("garbage", [nan, inf, -inf, 1e30])
def test_padding_is_never_read(method: Method, garbage: float):
    def spoil(_: str, part: Scored) -> Scored:
        pad_NT = part.mask_NT == 0

        def spoiled(x: Tensor) -> Tensor:
            return (
                x
                if x is part.mask_NT
                else x.masked_fill(pad_NT if x.ndim == 2 else pad_NT[..., None], garbage)
            )

        return part.map(spoiled)

    clean, spoiled = batch_for(method), changed(batch_for(method), spoil)
    assert all((part.mask_NT == 0).any() for part in clean.parts.values())
    cost_N, gradient = gradients(method, clean)
    spoiled_cost_N, spoiled_gradient = gradients(method, spoiled)
    assert torch.equal(cost_N, spoiled_cost_N)
    for name in gradient:
        assert torch.equal(gradient[name], spoiled_gradient[name])
        assert (spoiled_gradient[name][clean.parts[name.partition(".")[0]].mask_NT == 0] == 0).all()


@ALL
def test_more_padding_changes_nothing(method: Method):
    def widen(_: str, part: Scored) -> Scored:
        return part.map(
            lambda x: torch.nn.functional.pad(x, (0, 3) if x.ndim == 2 else (0, 0, 0, 3))
        )

    batch = batch_for(method)
    torch.testing.assert_close(
        cost_of(method, changed(batch, widen)), cost_of(method, batch), rtol=1e-13, atol=1e-13
    )


def nudged(batch: Batch, name: str, field: str, place: list[int], by: float) -> Batch:
    """The batch with one number of one tensor moved."""
    x = batch.parts[name].differentiable[field].clone()
    x[tuple(place)] += by
    return changed(
        batch, lambda which, part: replace(part, **{field: x}) if which == name else part
    )


@ALL
def test_gradient_is_the_finite_difference(method: Method):
    """Central differences in every response token of chosen, rejected and answer, and in whatever
    else a gradient reaches there or through a head. Log-probabilities of further sequences enter
    detached or not at all. Where the card says that the gradient holds something fixed, a
    difference must show it, or there is nothing that is held."""
    matched = []
    step = 1e-6
    for batch in (batch_for(method, seed) for seed in range(3)):
        _, gradient = gradients(method, batch)
        for name, part in batch.parts.items():
            if name in batch.extra and not any(
                gradient[key].any() for key in gradient if key.startswith(f"{name}.")
            ):
                continue
            for field, x in part.differentiable.items():
                slopes = gradient[name if field == "logp_NT" else f"{name}.{field}"]
                if field != "logp_NT" and not slopes.any():
                    continue
                for place in torch.nonzero(
                    part.mask_NT if x.ndim == 2 else part.mask_NT[..., None].expand_as(x)
                ).tolist():

                    def total(
                        by: float,
                        batch: Batch = batch,
                        at: tuple[str, str, list[int]] = (name, field, place),
                    ) -> float:
                        return cost_of(method, nudged(batch, *at, by)).sum().item()

                    slope = (total(step) - total(-step)) / (2 * step)
                    rounding = (
                        4e-16 * abs(total(0.0)) / step
                    )  # a difference of large costs is no finer than this
                    matched.append(
                        slopes[tuple(place)].item()
                        == pytest.approx(slope, abs=2e-7 + rounding, rel=1e-6)
                    )
    assert all(matched) != bool(method.card.stop_gradient)


@ALL
@pytest.mark.parametrize("far", [1e4, -1e4])
def test_extreme_log_ratios_stay_finite(method: Method, far: float):
    """The chosen (or only) answer 10,000 nats from the reference, up or down, in the type that
    training uses.
    """

    def pull(name: str, part: Scored) -> Scored:
        moved = max(far, 0) if name in ("chosen", "answer") else max(-far, 0)
        logp_NT = -(moved + 1.0) * part.mask_NT / part.length_N.unsqueeze(-1)
        back_NT = -(1e4 - moved + 1.0) * part.mask_NT / part.length_N.unsqueeze(-1)
        return replace(part.map(Tensor.float), logp_NT=logp_NT.float(), ref_logp_NT=back_NT.float())

    cost_N, gradient = gradients(method, changed(batch_for(method), pull))
    assert cost_N.isfinite().all() and all(g.isfinite().all() for g in gradient.values())


@ALL
def test_certain_and_empty_answers_stay_finite(method: Method):
    """Probability one on every token, and no token at all, are corners of a mean or an odds
    ratio.
    """
    for change in (
        lambda _, part: replace(part, logp_NT=0 * part.logp_NT, ref_logp_NT=0 * part.logp_NT),
        lambda _, part: replace(
            part, logp_NT=0 * part.logp_NT, mask_NT=0 * part.mask_NT, ref_logp_NT=0 * part.logp_NT
        ),
    ):
        cost_N, gradient = gradients(method, changed(batch_for(method), change))
        assert cost_N.isfinite().all() and all(g.isfinite().all() for g in gradient.values())


@ALL
def test_float32_agrees_with_float64(method: Method):
    single = changed(batch_for(method), lambda _, part: part.map(Tensor.float))
    cost_N = cost_of(method, single)
    assert cost_N.dtype == torch.float32
    torch.testing.assert_close(
        cost_N.double(), cost_of(method, batch_for(method)), rtol=1e-5, atol=1e-5
    )


@ALL
def test_a_boolean_mask_is_as_good(method: Method):
    batch = batch_for(method)
    boolean = changed(batch, lambda _, part: replace(part, mask_NT=part.mask_NT.bool()))
    torch.testing.assert_close(
        cost_of(method, boolean), cost_of(method, batch), rtol=1e-13, atol=1e-13
    )


@ALL
def test_the_reduction_gives_one_number(method: Method):
    batch = batch_for(method)
    cost_N = cost_of(method, batch)
    scalar, _ = method.reduction.apply(cost_N, batch, method.reduction.init())
    weight_N = weight(batch).double()
    average = (weight_N * cost_N).sum().item() / weight_N.sum().item()
    assert scalar.shape == () and (scalar.item() == pytest.approx(average, rel=1e-6)) == (
        method.name not in OWN_REDUCTION
    )


def test_few_methods_are_more_than_their_average():
    assert {
        m.name: m.reduction.name for m in METHODS.values() if not m.reduction.linear
    } == OWN_REDUCTION


# ------------------------------------------------------------------------------------------------
# what the card says


@ALL
def test_a_missing_need_is_refused_by_name(method: Method):
    for need in method.card.needs:
        with pytest.raises(NeedError) as caught:
            cost_of(method, without(batch_for(method), need))
        assert caught.value.need == need.name and method.name in str(caught.value)


@ALL
def test_what_is_not_declared_is_not_needed(method: Method):
    batch = batch_for(method)
    bare = batch
    for need in set(INPUTS) - set(method.card.needs):
        bare = without(bare, need)
    assert torch.equal(cost_of(method, bare), cost_of(method, batch))


@ALL
def test_weights_belong_to_the_reduction(method: Method):
    batch = batch_for(method)
    assert torch.equal(cost_of(method, without(batch, weight)), cost_of(method, batch))


def at_reference(method: Method) -> Batch:
    """A batch of a policy that is its own reference; what a head says is what a new one says of any
    states.
    """

    def start(_: str, part: Scored) -> Scored:
        head_NTK = part.head_NTK
        if method.head is not None:
            states_RLH = torch.randn(N * T, 3, 4, generator=torch.Generator().manual_seed(0))
            head_NTK = method.head.build(4, 3)(states_RLH).detach().double().reshape(N, T, -1)
        return replace(part, ref_logp_NT=part.logp_NT, kl_NT=0 * part.kl_NT, head_NTK=head_NTK)

    return changed(batch_for(method), start)


@ALL
def test_cost_at_the_reference(method: Method):
    """Where policy and reference agree, the cost is what the card says; a card that says nothing
    has a cost that varies or no reference.
    """
    start = at_reference(method)
    cost_N = cost_of(method, start)
    if method.card.at_reference is not None:
        assert reference in method.card.needs
        expected = method.card.at_reference(**defaults(method))
        assert isfinite(expected) and cost_N.tolist() == pytest.approx([expected] * N, rel=1e-12)
    elif reference in method.card.needs:
        unequal = {
            name: value * (1 + i / 10) for i, (name, value) in enumerate(defaults(method).items())
        }
        assert cost_of(method, start, **unequal).unique().numel() > 1


def test_every_card_with_settings_at_the_reference_reads_them():
    """`at_reference` must hold at settings other than the defaults too."""
    for method in METHODS.values():
        if method.card.at_reference is not None:
            settings = {name: value * 0.75 for name, value in defaults(method).items()}
            start = at_reference(method)
            expected = method.card.at_reference(**settings)
            assert cost_of(method, start, **settings).tolist() == pytest.approx(
                [expected] * N, rel=1e-12
            )


@pytest.mark.parametrize(
    ("method", "limit"), EVERY_LIMIT, ids=[f"{m.name}-to-{limit.gives}" for m, limit in EVERY_LIMIT]
)
def test_every_limit_is_met_in_value_and_gradient(method: Method, limit: Limit):
    other = get(limit.gives)
    shared = {
        name: 0.37 for name in defaults(method) if name in defaults(other) and name not in limit.at
    }
    for seed in range(3):
        batch = changed(batch_for(method, seed), lambda _, part: limit.given(part))
        cost_N, gradient = gradients(method, batch, **{**shared, **limit.at})
        other_cost_N, other_gradient = gradients(other, batch, **{**shared, **limit.other_at})
        torch.testing.assert_close(
            cost_N, limit.scale * other_cost_N + limit.shift, rtol=1e-6, atol=1e-6
        )
        for name in (
            batch.parts
        ):  # of log-probabilities: what else the limit holds in place has a slope of its own
            torch.testing.assert_close(
                gradient[name], limit.scale * other_gradient[name], rtol=1e-6, atol=1e-6
            )


@ALL
def test_rows_are_coupled_only_if_the_card_says_so(method: Method):
    """Every row but the first is moved far up: does the first row's cost notice?"""

    def move(_: str, part: Scored) -> Scored:
        far_NT = part.logp_NT - 3 * part.mask_NT
        return replace(
            part, ref_logp_NT=torch.cat([part.ref_logp_NT[:1], far_NT[1:] - 2 * part.mask_NT[1:]])
        )

    batch = batch_for(method)
    noticed = cost_of(method, changed(batch, move))[0].item() != cost_of(method, batch)[0].item()
    assert noticed == method.card.batch_dependent


# ------------------------------------------------------------------------------------------------
# state


@REMEMBERING
def test_a_memory_is_made_anew_and_carries_no_gradient(method: Method):
    """A dict of tensors of the same shapes; what was given is as it was, so that a batch may be
    judged twice.
    """
    batch, _ = with_leaves(batch_for(method))
    before = initial_state(method, RATERS)
    kept = {key: value.clone() for key, value in before.items()}
    _, after = costs(method, batch, {}, before)
    assert all(torch.equal(before[key].nan_to_num(-1), kept[key].nan_to_num(-1)) for key in kept)
    assert {key: value.shape for key, value in after.items()} == {
        key: value.shape for key, value in before.items()
    }
    assert all(value.isfinite().all() and not value.requires_grad for value in after.values())
    assert any(not torch.equal(after[key], before[key]) for key in after), "it remembers nothing"


@REMEMBERING
def test_what_is_remembered_is_read(method: Method):
    batch = batch_for(method)
    first_N, state = costs(method, batch, {}, initial_state(method, RATERS))
    assert not torch.equal(costs(method, batch, {}, state)[0], first_N)


@ALL
def test_a_method_without_memory_hands_on_what_it_was_given(method: Method):
    """So that a trainer need not ask which kind it has."""
    assert (initial_state(method, RATERS) == {}) == (method.state is None)
    given = {"anything": torch.ones(2)} if method.state is None else initial_state(method, RATERS)
    _, after = costs(method, batch_for(method), {}, given)
    assert (after is given) == (method.state is None)


# ------------------------------------------------------------------------------------------------
# settings and words


@ALL
def test_settings_are_keyword_only_numbers_with_defaults_and_help(method: Method):
    for name, parameter in settings_of(method.objective).items():
        assert isinstance(parameter.default, float), f"{name} has no default"
        assert (
            help_of(method.objective)[name][-1] != "." and len(help_of(method.objective)[name]) > 15
        )
    assert set(help_of(method.objective)) == set(settings_of(method.objective))
    assert len(signature(method.objective).parameters) == (2 if method.state else 1) + len(
        settings_of(method.objective)
    )


@ALL
@pytest.mark.parametrize("bad", [nan, inf, -inf, -1.0])
def test_impossible_settings_are_refused_by_name_with_a_cure(method: Method, bad: float):
    for name in settings_of(method.objective):
        with pytest.raises(OptionError, match=rf"^{name} is {bad!r}; it must .*\nhint: "):
            cost_of(method, batch_for(method), **{name: bad})


@pytest.mark.parametrize("name", ["cdpo", "rdpo"])
@pytest.mark.parametrize("flip", [0.5, 0.7, 1.0])
def test_flip_rates_of_half_and_more_are_refused(name: str, flip: float):
    method = get(name)
    with pytest.raises(OptionError, match=r"below 0\.5"):
        cost_of(method, batch_for(method), flip_rate=flip)


@ALL
def test_every_setting_is_read(method: Method):
    """No option is accepted and ignored: a change of it changes the cost, or what is remembered."""
    batch = batch_for(method)
    cost_N, state = cost_and_state(method, batch)
    for name, value in defaults(method).items():
        changed_cost_N, changed_memory = cost_and_state(method, batch, **{name: value * 0.8})
        remembered = all(torch.equal(changed_memory[key], state[key]) for key in state)
        assert not (torch.equal(changed_cost_N, cost_N) and remembered), f"{name} is never read"


@ALL
def test_card_and_docstring_are_complete(method: Method):
    card, words = method.card, method.objective.__doc__ or ""
    assert (
        card.paper.title
        and card.paper.authors
        and card.paper.year > 2000
        and (card.paper.arxiv or card.paper.venue)
    )
    assert 2 <= len(card.says.split()) <= 8 and card.says[-1] != "."
    assert card.equation and card.status and "cost" in words
    assert card.paper.authors.split(",")[0].split()[-1] in words, "the docstring cites the paper"
    assert (card.tokens == "apart") == (method.average is not None)
    assert ("Shape (N,)" if method.average is None else "Shape (N, T)") in words
    assert card.departures == departures_of(method.objective)
    assert set(card.needs) <= set(INPUTS)
    assert ("|y" in card.equation) == (card.tokens not in ("sum", "apart")), (
        "a division by the length is a mean over tokens"
    )


def test_the_table_is_named_by_its_functions():
    assert all(name == method.name for name, method in METHODS.items())


def test_an_unknown_method_is_answered_with_a_near_one():
    with pytest.raises(OptionError, match="hint: did you mean rdpo"):
        get("r-dpo")
    with pytest.raises(OptionError, match="hint: `holdfast methods` lists them all"):
        get("zzzzzz")


def test_limits_are_about_known_methods_and_settings():
    for method, limit in EVERY_LIMIT:
        assert (
            limit.gives in METHODS
            and set(limit.at) <= set(defaults(method))
            and isinstance(limit.at, Mapping)
        )
    assert {(m.name, limit.gives) for m, limit in EVERY_LIMIT} >= {("cdpo", "dpo"), ("rdpo", "dpo")}
