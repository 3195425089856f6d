"""Errors of whole runs stay below their bounds; the rest of docs/agreement.md's table is in its result file."""

import json

import mpmath
import numpy as np
import pytest

from benchmarks.error_growth import OPTIMIZERS, measure
from benchmarks.page import PAGES, result_files
from benchmarks.truth import growth, report
from gpubp import Network
from gpubp.engine import cpu
from tests import reference

pytestmark = pytest.mark.once

WAYS = ["numpy", pytest.param("engine", marks=pytest.mark.skipif(bool(cpu.why_not()), reason=cpu.why_not()))]
both_ways = pytest.mark.parametrize("way", WAYS)


@both_ways
@pytest.mark.parametrize("network", [growth.deep(1), growth.deep(12), growth.wide(2), growth.wide(200)], ids=str)
def test_of_gradients(way, network):
    run = growth.gradient_of(network)
    true, bound = growth.gradient(run, "numpy", "float64"), growth.bound_of_gradient(run)
    assert 0 < growth.error(growth.gradient(run, way, "float32"), true, "float32") < bound
    in_fewer_bits = growth.gradient(run, way, "float32", matmul_precision="tf32")
    assert growth.error(in_fewer_bits, true, "float32") > bound


@both_ways
@pytest.mark.parametrize("n_steps", [1, 7, 80])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_of_training(way, n_steps, name):
    run = growth.training(OPTIMIZERS[name], n_steps)
    assert growth.n_steps_of(run) == n_steps
    true = growth.result(run, "numpy", "float64")
    found = growth.error(growth.result(run, way, "float32"), true, "float32")
    assert 0 < found < growth.bound_of_training(run, growth.condition(run, true))


@both_ways
def test_of_a_stack(way):
    run = growth.stack(9)
    true = growth.result(run, "numpy", "float64")
    found = growth.error(growth.result(run, way, "float32"), true, "float32")
    assert found.shape == (9,)
    assert np.all(found < growth.bound_of_training(run, growth.condition(run, true)))


@both_ways
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_of_a_small_network_against_mpmath(way, dtype):
    run = growth.small_gradient()
    found = growth.error_from_truth(growth.gradient(run, way, dtype), growth.true_small_gradient(run), dtype)
    assert 0 < found < growth.bound_of_gradient(run)
    run = growth.small_training(12)
    found = growth.error_from_truth(growth.result(run, way, dtype), growth.true_weights(run), dtype)
    assert 0 < found < growth.bound_of_training(run, growth.condition(run, growth.result(run, "numpy", "float64")))


def test_the_truth_is_that_of_the_paper():
    run = growth.small_training(3)
    blocks = np.split(run.theta, [5 * 6])
    weights = [block.reshape(shape).tolist() for block, shape in zip(blocks, growth.SMALL.shapes, strict=True)]
    samples = list(zip(run.x.tolist(), run.targets.tolist(), strict=True))
    _, gradient = reference.loss_and_gradient(weights, samples)
    np.testing.assert_allclose(_numbers(growth.true_small_gradient(run)), _flat(gradient), rtol=1e-12)
    # the reference descends the sum over samples, and a training the mean
    expected = reference.descend(weights, samples, 0.1 / len(samples), 0.9, 3)
    np.testing.assert_allclose(_numbers(growth.true_weights(run)), _flat(expected), rtol=1e-12)


def test_conditions_and_lengths():
    run = growth.training(OPTIMIZERS["momentum"], 1)._replace(network=Network((8, 16, 4), activation="identity"))
    true = growth.result(run, "numpy", "float64")
    assert growth.condition(run, true) == pytest.approx(1.0, rel=0.5)
    assert growth.error(np.asarray([3.0, 4.0 * (1 + 2.0**-20)]), np.asarray([3.0, 4.0]), "float32") == pytest.approx(
        12.8
    )
    with mpmath.workdps(growth.DIGITS):
        true = growth.exact(np.asarray([3.0, 4.0]))
        assert growth.error_from_truth(np.asarray([3.0, 4.0 * (1 + 2.0**-20)]), true, "float32") == pytest.approx(12.8)


def test_all_series_are_measured_and_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks.truth.growth_chart import PANELS, draw

    rows = list(measure(["numpy"], 2))
    assert {row["series"] for row in rows} == {*PANELS, "mpmath, gradient"} == set(report.SERIES)
    assert [row for row in rows if not row["of_bound"] < 1] == []
    assert len(report.growth_table(rows)) == 2 + len({(row["series"], row["dtype"]) for row in rows})
    draw({"error-growth": rows}, tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").read_text(encoding="utf-8").count("NumPy") >= 1


def test_no_committed_error_exceeds_its_bound():
    (page,) = [page for page in PAGES if page.stem == "agreement"]
    results = [json.loads(file.read_text(encoding="utf-8")) for file in result_files(page.read_text(encoding="utf-8"))]
    rows = [row for result in results for row in result.get("error-growth", ())]
    assert {row["way"] for row in rows} == set(growth.WAYS)
    assert [row for row in rows if not row["of_bound"] < 1] == []


def _flat(blocks):
    return np.concatenate([np.ravel(block) for block in blocks])


def _numbers(array):
    return array.astype(float)
