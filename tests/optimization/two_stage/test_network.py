"""The surrogate: what it is indifferent to, its copy in a program, its training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from holdfast.errors import ModelError, OptionError, RunError
from holdfast.optimization.two_stage.adversary import by_sampling, swaps
from holdfast.optimization.two_stage.embedding import Embedding, relu, worst_of_network
from holdfast.optimization.two_stage.labels import Asked, features_of, write_labels
from holdfast.optimization.two_stage.network import load_network, save_network
from holdfast.optimization.two_stage.neur2ro import shipped
from holdfast.optimization.two_stage.programs import Program
from holdfast.optimization.two_stage.training import NETWORK, Recipe, train
from tests.optimization.two_stage.instances import small_knapsack


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    list(write_labels(folder, Asked(instances=20, decisions=4, factors=6)))
    return folder


def test_the_order_of_items_does_not_matter():
    network, problem = shipped().double(), small_knapsack(1, n=20)
    rng = np.random.default_rng(0)
    x_N, xi_BN = rng.integers(0, 2, 20).astype(float), rng.uniform(0, 1, (5, 20))
    other_N = rng.permutation(20)
    features_NF = features_of(problem)
    here = network.predict(features_NF, x_N, xi_BN)
    there = network.predict(features_NF[other_N], x_N[other_N], xi_BN[:, other_N])
    assert here == pytest.approx(there, abs=1e-12)
    assert np.ptp(here) > 0


@pytest.mark.parametrize("n", [20, 30])
def test_the_program_holds_the_network_exactly(n):
    network, problem = shipped().double(), small_knapsack(n, n=n)
    features_NF = features_of(problem)
    rng = np.random.default_rng(n)
    xi_N = problem.model.uncertainty.project(rng.uniform(0, 1, n))
    for share in (0.0, 0.5, 1.0):
        x_N = (rng.uniform(size=n) < share).astype(float)
        program = Program()
        x = program.add(n, high=1.0, whole=True)
        value = Embedding(program, network, features_NF, x).value(xi_N)
        program.fix(x, x_N)
        program.price(value.places, value.slopes)
        found = program.minimize("the network")
        expected = network.predict(features_NF, x_N, xi_N[None])[0]
        assert found.value + value.bias == pytest.approx(expected, abs=1e-6)
        assert value.low - 1e-9 <= expected <= value.high + 1e-9


def test_a_relu_by_hand():
    """p = 2 v - 1 for v in [0, 1]: max(0, p) at v = 1/4 is 0, at 3/4 is 1/2."""
    for v, expected in ((0.25, 0.0), (0.75, 0.5)):
        program = Program()
        place = program.add(1, high=1.0)
        from holdfast.optimization.two_stage.embedding import Layer

        layer = Layer(place, np.zeros(1), np.ones(1))
        h = relu(program, layer, np.array([[2.0]]), np.array([-1.0]))
        program.fix(place, np.array([v]))
        for sign in (1.0, -1.0):  # neither less nor more is possible
            program.price(h.places, np.array([sign]))
            assert program.minimize("a ReLU").value == pytest.approx(sign * expected)


def test_sampling_finds_what_the_program_proves():
    """Six items, where the program closes its gap: sampling is within 5% of the range."""
    network, problem = shipped().double(), small_knapsack(2, n=6)
    features_NF, x_N = features_of(problem), np.ones(6)
    uncertainty = problem.model.uncertainty
    point_N, value, bound = worst_of_network(
        network, features_NF, x_N, uncertainty, seconds=20.0, gap=1e-6
    )
    assert network.predict(features_NF, x_N, point_N[None])[0] == pytest.approx(value, abs=1e-5)
    sampled_N, sampled = by_sampling(network, features_NF, x_N, uncertainty)
    assert uncertainty.holds(sampled_N)
    low = network.predict(features_NF, x_N, np.zeros((1, 6)))[0]
    assert sampled <= bound + 1e-6
    assert sampled >= value - 0.05 * (value - low)


def test_swaps_stay_in_the_set():
    uncertainty = small_knapsack(0, n=10).model.uncertainty
    point_N = uncertainty.worst(np.arange(10.0))[1]
    around = swaps(point_N, uncertainty, np.random.default_rng(0))
    assert len(around) > 10
    assert all(uncertainty.holds(each) for each in around)


def test_training_goes_on_after_a_stop_to_the_same_bits(data, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    recipe = Recipe(epochs=4)
    errors = [each.error for each in train(data, whole, recipe)]
    assert len(errors) == 4
    first = train(data, stopped, recipe)
    next(first), next(first)
    first.close()
    assert not (stopped / NETWORK).exists()
    torch.manual_seed(999)  # nothing rests on the state of the process
    assert [each.epoch for each in train(data, stopped, recipe)] == [3, 4]
    assert (stopped / NETWORK).read_bytes() == (whole / NETWORK).read_bytes()


def test_training_lowers_the_error(data, tmp_path):
    progress = list(train(data, tmp_path, Recipe(epochs=12, lr=0.01)))
    assert progress[-1].best < 0.8 * progress[0].error
    network = load_network(tmp_path / NETWORK)
    assert network.record["mean_absolute_error_on_held_out_instances"] == progress[-1].best
    assert network.record["labels_trained_on"] == 16 * 24


def test_other_settings_in_the_folder_are_refused(data, tmp_path):
    next(train(data, tmp_path, Recipe(epochs=2)))
    with pytest.raises(RunError, match="holds a training with other settings"):
        next(train(data, tmp_path, Recipe(epochs=3)))
    with pytest.raises(OptionError, match="lr must be above 0"):
        Recipe(lr=0.0)


def test_files_that_are_no_network_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"none.safetensors is no network"):
        load_network(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(ModelError, match=r"broken.safetensors is no network"):
        load_network(tmp_path / "broken.safetensors")
    save_network(shipped(), tmp_path / "copy.safetensors")
    copy = load_network(tmp_path / "copy.safetensors")
    assert copy.record == shipped().record
    assert copy.scales.record() == shipped().scales.record()


def test_the_shipped_network_says_how_it_was_made():
    record = shipped().record
    assert record["labels_trained_on"] + record["labels_held_out"] >= 250_000
    assert 0 < record["mean_absolute_error_on_held_out_instances"] < 0.02
    assert {"data", "recipe", "features"} <= set(record)
