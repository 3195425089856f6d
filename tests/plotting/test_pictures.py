"""The pictures: each equals its reviewed baseline, and shows the correct numbers.

``GPUBP_PICTURES=write pytest tests/plotting/test_pictures.py`` redraws the baselines (pictures/); review them.
"""

import os
import subprocess
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.colors import to_hex, to_rgb  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.testing.compare import compare_images  # noqa: E402
from matplotlib.text import Text  # noqa: E402

from gpubp import MLPClassifier, MLPRegressor, Network, initial_weights, plotting, predict, train  # noqa: E402
from gpubp.errors import DataError, GpubpError  # noqa: E402
from gpubp.inspection import CalibrationCurve, PartialDependence, PermutationImportance  # noqa: E402
from gpubp.io.model_file import Model  # noqa: E402
from gpubp.nn.network import views  # noqa: E402
from gpubp.nn.passes import forward, loss_and_gradient  # noqa: E402
from gpubp.plotting._hidden_layers import principal_components  # noqa: E402
from gpubp.plotting._hinton_diagram import MAX_SIDE  # noqa: E402
from gpubp.plotting.figure import NEGATIVE, POSITIVE, STYLES  # noqa: E402
from gpubp.training.learning_rates import LearningRates  # noqa: E402
from gpubp.training.state import History  # noqa: E402

BASELINES = Path(__file__).parent / "pictures"
RMS = 2.0
"""Of 255, over all pixels: what versions of matplotlib may differ by; a wrong sign or a lost path is above 4."""

NETWORK = Network((4, 3, 2), activation="logistic", loss="cross_entropy")
THETA = np.round(np.random.default_rng(3).normal(size=NETWORK.n_parameters), 2)
MODEL = (NETWORK, THETA)
SAMPLES = np.round(np.random.default_rng(4).normal(size=(9, 4)), 2)

LINE = Network((1, 1), output_activation="logistic")
X, D = np.asarray([[-1.0], [0.5], [2.0]]), np.asarray([[0.1], [0.4], [0.9]])
DOWN = np.asarray([[-2.0, 2.0], [-1.0, 1.5], [0.0, 0.5], [1.0, -0.5]])

PLANE = Network((2, 3), loss="cross_entropy")
PLANE_THETA = np.asarray([2.0, -1.0, -1.0, 0.0, 2.0, -2.0, 0.0, 0.5, 0.0])
POINTS = np.asarray([[1.0, 0.0], [-1.0, 1.5], [-1.5, -1.0], [0.5, 0.3], [-0.2, 1.0], [-0.5, -1.5]])


def curves():
    rng = np.random.default_rng(0)
    slow = [np.exp(-0.05 * t) * np.exp(0.6 * rng.normal(size=9)) for t in range(60)]
    fast = [float(np.exp(-0.1 * t)) for t in range(60)]
    return {"slow": History(slow, seconds=[0.1 * t for t in range(60)]), "fast": History(fast, seconds=[*range(60)])}


IMPORTANCE = PermutationImportance(
    ("a", "b", "c"), np.asarray([[0.1, 0.2, 0.15], [-0.02, 0.01, 0.0], [0.5, 0.4, 0.6]]), 0.9, "accuracy"
)
RATES = LearningRates(np.asarray([1e-3, 1e-2, 0.1, 1.0]), np.asarray([2.0, 1.0, 0.5, np.nan]), 3, 0.1)
RELIABILITY = (
    CalibrationCurve("all", np.asarray([0.1, 0.5, 0.9]), np.asarray([0.2, 0.5, 0.7]), np.asarray([10.0, 5.0, 40.0])),
    CalibrationCurve("one", np.asarray([0.2, 0.8]), np.asarray([0.1, 0.9]), np.asarray([30.0, 30.0])),
)


def dependence():
    values = np.linspace(0.0, 4.0, 21)
    own = np.sin(values)[None, :, None] + np.linspace(-0.5, 0.5, 7)[:, None, None]
    return PartialDependence("age", values, ("pay",), own.mean(axis=0), own)


def of_categories():
    average = np.asarray([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    return PartialDependence("town", np.asarray(["Bonn", "Ulm"], dtype=object), ("y=a", "y=b", "y=c"), average)


DRAWN = {
    "hinton": lambda ax: plotting.hinton_diagram(MODEL, ax, input_shape=(2, 2)),
    "hinton-layer-2": lambda ax: plotting.hinton_diagram(MODEL, ax, layer=2, across=1),
    "network": lambda ax: plotting.network_diagram(MODEL, ax),
    "curves": lambda ax: plotting.learning_curves(curves(), ax),
    "learning-rates": lambda ax: plotting.learning_rate_curve(RATES, ax),
    "surface": lambda ax: plotting.loss_surface((LINE, DOWN[0]), X, D, ax, paths={"down": DOWN}),
    "boundary": lambda ax: plotting.decision_boundary((PLANE, PLANE_THETA), POINTS, [0, 1, 2, 0, 1, 2], ax),
    "heat-map": lambda ax: plotting.hidden_heat_map(MODEL, SAMPLES, ax),
    "importance": lambda ax: plotting.importance_bars(IMPORTANCE, ax),
    "dependence": lambda ax: plotting.partial_dependence_curve(dependence(), ax),
    "dependence-categories": lambda ax: plotting.partial_dependence_curve(of_categories(), ax),
    "reliability": lambda ax: plotting.reliability_diagram(RELIABILITY, ax),
    "projection": lambda ax: plotting.hidden_projection(MODEL, SAMPLES, [0, 0, 0, 1, 1, 1, 2, 2, 2], ax),
}


def axes():
    figure = Figure(figsize=(3.0, 3.0), dpi=64)
    FigureCanvasAgg(figure)
    return figure.add_axes((0.1, 0.1, 0.8, 0.8))


def write(ax, path):
    """Write a picture without its text, which each version of FreeType renders differently."""
    for part in ax.figure.findobj(Text):
        part.set_visible(False)
    for drawn in ax.figure.axes:
        drawn.tick_params(which="both", length=0)
        if drawn.get_legend() is not None:
            drawn.get_legend().remove()  # as wide as its text
    ax.figure.savefig(path, metadata={"Software": None})


@pytest.mark.parametrize("name", DRAWN)
def test_the_picture_equals_its_baseline(name, tmp_path):
    ax = axes()
    assert DRAWN[name](ax) is ax
    baseline = BASELINES / f"{name}.png"
    if os.environ.get("GPUBP_PICTURES") == "write":
        write(ax, baseline)
        pytest.skip("the baseline was written")
    drawn = tmp_path / f"{name}.png"
    write(ax, drawn)
    assert compare_images(str(baseline), str(drawn), RMS) is None


def wrong_pictures():
    flipped = THETA.copy()
    flipped[0] *= -1
    yield "hinton", lambda ax: plotting.hinton_diagram((NETWORK, flipped), ax, input_shape=(2, 2))
    yield "network", lambda ax: plotting.network_diagram((NETWORK, -THETA), ax)
    yield "surface", lambda ax: plotting.loss_surface((LINE, DOWN[0]), X, D, ax, paths={"down": DOWN * [1, -1]})
    yield "boundary", lambda ax: plotting.decision_boundary((PLANE, PLANE_THETA), POINTS, [0, 1, 2, 0, 1, 1], ax)
    yield "heat-map", lambda ax: plotting.hidden_heat_map(MODEL, SAMPLES[::-1], ax)


@pytest.mark.parametrize(("name", "draw"), list(wrong_pictures()), ids=[name for name, _ in wrong_pictures()])
def test_a_wrong_picture_is_detected(name, draw, tmp_path):
    ax = axes()
    draw(ax)
    drawn = tmp_path / f"{name}.png"
    write(ax, drawn)
    assert "RMS" in compare_images(str(BASELINES / f"{name}.png"), str(drawn), RMS)


def pyplot_figures():
    """Return the numbers of the figures that pyplot holds; tests of others that run before may have made some."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    return [] if pyplot is None else pyplot.get_fignums()


def test_no_global_state_is_changed_and_a_figure_is_made_by_default():
    before, figures = dict(matplotlib.rcParams), pyplot_figures()
    for name, draw in DRAWN.items():
        ax = draw(None)
        ax.figure.canvas.draw()
        assert isinstance(ax, matplotlib.axes.Axes), name
    assert dict(matplotlib.rcParams) == before
    assert pyplot_figures() == figures


def test_importing_the_package_does_not_import_matplotlib():
    code = "import sys, gpubp.plotting; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", DRAWN)
def test_without_matplotlib(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(GpubpError, match="pip install matplotlib"):
        DRAWN[name](None)


@pytest.mark.parametrize("name", DRAWN)
def test_ax_must_be_an_axes(name):
    with pytest.raises(DataError, match="ax must be an Axes of Matplotlib"):
        DRAWN[name]("here")


# Whose picture it is


def test_a_model_can_have_any_form():
    x, targets = SAMPLES, np.eye(2)[np.arange(9) % 2]
    fit = train(NETWORK, x, targets, epochs=3, device="cpu")
    expected = plotting.hidden_heat_map((NETWORK, fit.theta), x).images[0].get_array()
    for model in (fit, Model(NETWORK, fit.theta)):
        np.testing.assert_array_equal(plotting.hidden_heat_map(model, x).images[0].get_array(), expected)


def fitted_on(labels, kind=MLPClassifier):
    """A classifier after a few steps, without the warning that it has not converged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind((5,), activation="tanh", solver="lbfgs", random_state=0, max_iter=20).fit(POINTS, labels)


@pytest.mark.parametrize("origin", ["gpubp", "sklearn"])
def test_an_estimator_is_a_model(origin):
    from sklearn.neural_network import MLPClassifier as Their

    fitted = fitted_on([0, 1, 2] * 2, MLPClassifier if origin == "gpubp" else Their)
    image = plotting.hidden_heat_map(fitted, POINTS).images[0].get_array()
    expected = np.tanh(POINTS.astype(float) @ fitted.coefs_[0] + fitted.intercepts_[0])
    np.testing.assert_allclose(image, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (7, "a model is a pair .* got int"),
        (("a", THETA), "got a str for the network"),
        ((NETWORK, THETA[:-1]), r"theta must be \(23,\)"),
        ((NETWORK, np.stack([THETA, THETA])), "a stack of 2; pass one row"),
        (MLPClassifier(), "fitted estimator; got MLPClassifier"),
    ],
)
def test_objects_that_are_not_models(model, message):
    with pytest.raises(DataError, match=message):
        plotting.network_diagram(model)


# Hinton diagrams


def boxes(collection):
    """Return the centre and the side of each square."""
    corners = np.asarray([path.vertices[:4] for path in collection.get_paths()])
    sides = np.ptp(corners, axis=1)
    np.testing.assert_allclose(sides[:, 0], sides[:, 1])
    return corners.mean(axis=1), sides[:, 0]


@pytest.mark.parametrize("layer", [1, 2])
def test_areas_are_proportional_to_weights(layer):
    ax = plotting.hinton_diagram(MODEL, layer=layer)
    block = views(np, NETWORK, THETA)[layer - 1]
    _, sides = boxes(ax.collections[1])
    np.testing.assert_allclose(sides**2, MAX_SIDE**2 * np.abs(block).ravel() / np.abs(block).max())
    colours = [to_hex(colour) for colour in ax.collections[1].get_facecolors()]
    assert colours == ["#ffffff" if w > 0 else "#000000" for w in block.ravel()]


def test_each_weight_is_in_its_cell():
    ax = plotting.hinton_diagram(MODEL, input_shape=(2, 2), across=3)
    centres, _ = boxes(ax.collections[1])
    at = centres.reshape(5, 3, 2)  # four inputs and the bias, three units
    for k in range(3):
        corner = at[0, k] - 0.5
        np.testing.assert_allclose(at[:4, k] - corner, [[0.5, 0.5], [1.5, 0.5], [0.5, 1.5], [1.5, 1.5]])
        assert at[4, k, 0] - corner[0] > 2.0  # the bias is separate
    assert np.all(np.diff(at[0, :, 0]) > 3.5)
    ends = [path.vertices for path in ax.collections[0].get_paths()]
    inside = [any(np.all(c >= e.min(axis=0)) and np.all(c <= e.max(axis=0)) for e in ends) for c in centres]
    assert all(inside)


def test_a_scale_for_several_diagrams():
    _, sides = boxes(plotting.hinton_diagram(MODEL, largest=100.0).collections[1])
    np.testing.assert_allclose(sides**2, MAX_SIDE**2 * np.abs(views(np, NETWORK, THETA)[0]).ravel() / 100.0)
    _, sides = boxes(plotting.hinton_diagram(MODEL, largest=1e-6).collections[1])
    np.testing.assert_allclose(sides, MAX_SIDE)  # no square exceeds its cell


def test_some_units_and_their_names():
    ax = plotting.hinton_diagram(MODEL, selected_units=[2, 0], unit_names=["c", "a"])
    assert [text.get_text() for text in ax.texts if text.get_text() in "abc"] == ["c", "a"]
    block = views(np, NETWORK, THETA)[0][:, [2, 0]]
    _, sides = boxes(ax.collections[1])
    np.testing.assert_allclose(sides**2, MAX_SIDE**2 * np.abs(block).ravel() / np.abs(block).max())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 3}, "layer must be a whole number from 1 to 2"),
        ({"layer": 0}, "the inputs are layer 0"),
        ({"input_shape": (3, 2)}, "whose product is 4"),
        ({"selected_units": [3]}, "selected_units must be from 0 to 2"),
        ({"selected_units": []}, "one or more"),
        ({"across": 0}, "across must be a whole number of at least 1"),
        ({"largest": 0.0}, "largest must be a finite number above 0"),
        ({"unit_names": ["a"]}, "unit_names must be 3 names, got 1"),
    ],
)
def test_hinton_misuse(options, message):
    with pytest.raises(DataError, match=message):
        plotting.hinton_diagram(MODEL, **options)


def test_connections_that_skip_layers():
    network = Network((4, 3, 2), skips=[(0, 2)])
    model = (network, initial_weights(network, dtype="float64"))
    ax = plotting.hinton_diagram(model, layer=2)
    drawn = sum(len(squares.get_paths()) for squares in ax.collections[1:2])
    assert drawn == 2 * (3 + 4 + 1)
    with pytest.raises(DataError, match=r"skip connections, \[\(0, 2\)\]"):
        plotting.network_diagram(model)


@pytest.mark.parametrize(
    ("draw", "name"),
    [
        (plotting.network_diagram, "network_diagram"),
        (plotting.hinton_diagram, "hinton_diagram"),
        (lambda model: plotting.hidden_heat_map(model, np.zeros((2, 4))), "a picture of hidden layers"),
    ],
    ids=["diagram", "hinton", "hidden"],
)
def test_members_are_refused(draw, name):
    network = Network((4, 3, 2), n_members=2)
    with pytest.raises(DataError, match=f"{name} shows layers of one block .* n_members=2 has several"):
        draw((network, initial_weights(network)))


def test_a_hinton_diagram_that_is_too_large():
    network = Network((300, 200, 1))
    with pytest.raises(DataError, match=r"60,200 weights, .* choose some units"):
        plotting.hinton_diagram((network, np.ones(network.n_parameters)))
    plotting.hinton_diagram((network, np.ones(network.n_parameters)), selected_units=range(20))


def test_weights_that_are_all_0():
    """No division by the largest, which would be a warning, and so an error here."""
    for draw in (plotting.hinton_diagram, plotting.network_diagram):
        draw((NETWORK, np.zeros(NETWORK.n_parameters))).figure.canvas.draw()


# Network drawings


def test_lines_show_the_size_and_the_sign_of_weights():
    ax = plotting.network_diagram(MODEL)
    weights = np.concatenate([block[:-1].ravel() for block in views(np, NETWORK, THETA)])
    lines = ax.collections[0]
    np.testing.assert_allclose(lines.get_linewidths(), 5.0 * np.abs(weights) / np.abs(weights).max())
    assert [to_hex(c) for c in lines.get_colors()] == [(POSITIVE if w > 0 else NEGATIVE).lower() for w in weights]
    dashed = [pattern is not None for _, pattern in lines.get_linestyles()]
    assert dashed == [bool(w < 0) for w in weights]


def test_lines_connect_the_units_of_their_weight():
    ax = plotting.network_diagram(MODEL)
    centres = np.asarray([path.vertices.mean(axis=0) for path in ax.collections[1].get_paths()])
    assert len(centres) == sum(NETWORK.sizes)
    places = np.split(np.round(centres, 1), np.cumsum(NETWORK.sizes)[:-1])
    expected = [(a, b) for below, above in pairwise(places) for a in below for b in above]
    np.testing.assert_allclose(ax.collections[0].get_segments(), expected, atol=0.11)


def test_biases_are_in_their_units():
    ax = plotting.network_diagram(MODEL)
    biases = np.concatenate([block[-1] for block in views(np, NETWORK, THETA)])
    texts = [float(text.get_text().replace("−", "-")) for text in ax.texts]
    assert len(texts) == THETA.size
    np.testing.assert_allclose(texts[-len(biases) :], biases, rtol=0.06)
    colours = ax.collections[1].get_facecolors()[4:, :3]
    redder = colours[:, 0] > colours[:, 2]
    np.testing.assert_array_equal(redder, biases > 0)


def test_a_network_without_biases_and_with_names():
    network = Network((2, 1), bias=False)
    ax = plotting.network_diagram((network, np.asarray([1.0, -1.0])), input_names=["left", "right"], output_names="sum")
    assert {text.get_text() for text in ax.texts} == {"1", "−1", "left", "right", "sum"}
    with pytest.raises(DataError, match="input_names must be 2 names, got 3"):
        plotting.network_diagram((network, np.ones(2)), input_names=["a", "b", "c"])


def test_fifty_units_are_drawn_and_more_are_refused():
    for sizes in ((24, 20, 6), (40, 5, 5)):
        network = Network(sizes)
        plotting.network_diagram((network, initial_weights(network))).figure.canvas.draw()
    network = Network((40, 10, 1))
    with pytest.raises(DataError, match=r"51 units, .* at most 50; draw .* hinton_diagram"):
        plotting.network_diagram((network, initial_weights(network)))


# Learning curves of several runs


def test_curves_hold_their_histories():
    runs = curves()
    ax = plotting.learning_curves(runs, quantiles=(0.1, 0.9))
    slow, fast = ax.lines
    np.testing.assert_allclose(slow.get_ydata(), np.median(runs["slow"].loss, axis=1))
    np.testing.assert_allclose(fast.get_ydata(), runs["fast"].loss)
    assert list(fast.get_xdata()) == list(range(1, 61))
    [band] = ax.collections
    edges = band.get_paths()[0].vertices[:, 1]
    assert edges.max() == pytest.approx(np.quantile(runs["slow"].loss, 0.9, axis=1).max())
    assert edges.min() == pytest.approx(np.quantile(runs["slow"].loss, 0.1, axis=1).min())
    assert ax.get_yscale() == "log"
    assert plotting.learning_curves(runs, log=False).get_yscale() == "linear"


def test_the_losses_of_a_single_epoch_are_written_beside_its_points():
    ax = plotting.learning_curve(History(loss=[0.25], validation_loss=[0.5]))
    texts = {text.get_text(): text for text in ax.texts}
    assert [(texts[value].get_ha(), texts[value].xy) for value in ("0.2500", "0.5000")] == [
        ("right", (1, 0.25)),
        ("left", (1, 0.5)),
    ]
    assert ax.get_xticks().tolist() == [1]


def test_curves_against_time():
    runs = curves()
    ax = plotting.learning_curves(runs, against="seconds")
    np.testing.assert_allclose(ax.lines[0].get_xdata(), runs["slow"].seconds)
    assert ax.get_xlabel() == "seconds"


@pytest.mark.parametrize(
    ("runs", "options", "message"),
    [
        ({}, {}, "empty: all"),
        ({"a": History([1.0]), "b": History()}, {}, r"empty: \['b'\]"),
        ({"a": History([1.0])}, {"against": "hours"}, "'epochs' or 'seconds', got 'hours'"),
        ({"a": History([1.0])}, {"quantiles": (0.6, 0.9)}, "quantiles must be"),
    ],
)
def test_curves_misuse(runs, options, message):
    with pytest.raises(DataError, match=message):
        plotting.learning_curves(runs, **options)


# Error surfaces


def test_the_surface_is_the_loss():
    """The loss on each contour line equals the line's level."""
    ax = plotting.loss_surface((LINE, DOWN[0]), X, D, limits=((-3, 3), (-3, 3)), resolution=161)
    lines = ax.collections[1]
    n_points = 0
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        for point in path.vertices[::7]:
            E, _ = loss_and_gradient(np, LINE, point, X, D)
            assert float(E) == pytest.approx(level, rel=0.02)
            n_points += 1
    assert n_points > 100


def test_two_of_many_parameters():
    network, theta = NETWORK, THETA.copy()
    x, targets = SAMPLES, np.eye(2)[np.arange(9) % 2]
    ax = plotting.loss_surface(
        (network, theta), x, targets, parameters=(7, 20), limits=((-1, 1), (-1, 1)), resolution=41
    )
    lines = ax.collections[1]
    level, path = next(
        (level, path) for level, path in zip(lines.levels[3:], lines.get_paths()[3:], strict=True) if len(path.vertices)
    )
    theta[[7, 20]] = path.vertices[len(path.vertices) // 2]
    assert float(loss_and_gradient(np, network, theta, x, targets)[0]) == pytest.approx(level, rel=0.01)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("parameter 7", "parameter 20")


def test_paths_follow_the_parameters():
    full = np.random.default_rng(0).normal(size=(5, NETWORK.n_parameters))
    x, targets = SAMPLES, np.eye(2)[np.arange(9) % 2]
    paths = {"whole": full, "cut": full[:, [4, 2]] + 1}
    ax = plotting.loss_surface(MODEL, x, targets, parameters=(4, 2), paths=paths, resolution=5)
    whole, cut, starts, point, _ = ax.lines
    np.testing.assert_array_equal(np.transpose(whole.get_data()), full[:, [4, 2]])
    np.testing.assert_array_equal(np.transpose(cut.get_data()), full[:, [4, 2]] + 1)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    for line in (whole, cut, starts, point):
        across, upwards = line.get_data()
        assert left < min(across) <= max(across) < right
        assert bottom < min(upwards) <= max(upwards) < top
    assert [text.get_text() for text in ax.get_legend().get_texts()][:4] == [*("whole", "cut", "start", "the model")]
    np.testing.assert_array_equal(np.transpose(starts.get_data()), [full[0, [4, 2]], full[0, [4, 2]] + 1])
    assert to_hex(whole.get_color()) == STYLES[0].color.lower()


def test_parameters_of_two_may_be_swapped():
    ax = plotting.loss_surface((LINE, DOWN[0]), X, D, parameters=(1, 0), paths={"down": DOWN}, resolution=5)
    np.testing.assert_array_equal(np.transpose(ax.lines[0].get_data()), DOWN[:, ::-1])


def test_a_surface_without_finite_numbers_or_without_slope():
    network = Network((1, 1), output_activation="exp", loss="squared")
    limits = ((-1e4, 1e4), (-1e4, 1e4))
    plotting.loss_surface((network, np.zeros(2)), X, D, limits=limits, resolution=9).figure.canvas.draw()
    flat = Network((1, 1), bias=False)
    with pytest.raises(DataError, match="two different whole numbers from 0 to 0"):
        plotting.loss_surface((flat, np.zeros(1)), X, D)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parameters": (0, 2)}, "from 0 to 1, got"),
        ({"parameters": (1, 1)}, "two different"),
        ({"paths": {"p": np.zeros((3, 5))}}, r"the path 'p' must be \(t, 2\)"),
        ({"paths": {"p": [[0.0], [1.0, 2.0]]}}, "array of numbers"),
        ({"limits": ((1, 0), (0, 1))}, "in increasing order"),
        ({"resolution": 1}, "resolution must be a whole number of at least 2"),
    ],
)
def test_surface_misuse(options, message):
    with pytest.raises(DataError, match=message):
        plotting.loss_surface((LINE, DOWN[0]), X, D, **options)


# Decision boundaries


def test_colours_are_those_of_the_likeliest_class():
    ax = plotting.decision_boundary((PLANE, PLANE_THETA), POINTS, [0, 1, 2, 0, 1, 2], resolution=31)
    shades = np.asarray(ax.images[0].get_array())
    left, right, bottom, top = ax.images[0].get_extent()
    across, upwards = np.meshgrid(np.linspace(left, right, 31), np.linspace(bottom, top, 31))
    p = predict(PLANE, PLANE_THETA, np.stack([across.ravel(), upwards.ravel()], axis=1), device="cpu")
    full = np.asarray([to_rgb(style.color) for style in STYLES[:3]])
    sure = 0.65 * (p.max(axis=1, keepdims=True) - 1 / 3) / (2 / 3)
    np.testing.assert_allclose(shades.reshape(-1, 3), 1 - sure * (1 - full[p.argmax(axis=1)]), atol=1e-6)


def test_the_line_is_where_two_classes_are_equal():
    network = Network((2, 1), loss="binary_cross_entropy")
    ax = plotting.decision_boundary((network, np.asarray([2.0, -1.0, 0.5])), POINTS)
    [lines] = [c for c in ax.collections if hasattr(c, "levels")]
    [path] = lines.get_paths()
    np.testing.assert_allclose(
        np.matmul(path.vertices, [2.0, -1.0]) + 0.5, 0.0, atol=1e-5
    )  # drawn straight between grid points
    assert ax.get_legend() is None


def test_samples_have_the_marker_of_their_class():
    ax = plotting.decision_boundary((PLANE, PLANE_THETA), POINTS, np.eye(3)[[0, 1, 2, 0, 1, 2]])
    dots = [c for c in ax.collections if len(c.get_offsets()) and not hasattr(c, "levels")]
    for k, own in enumerate(dots):
        np.testing.assert_allclose(own.get_offsets(), POINTS[k::3])
        assert to_hex(own.get_facecolors()[0]) == STYLES[k].color.lower()


def test_a_classifier_with_names_for_classes():
    names = np.asarray(["yes", "no", "maybe"])[np.arange(6) % 3]
    fitted = fitted_on(names)
    ax = plotting.decision_boundary(fitted, POINTS, names)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["maybe", "no", "yes"]
    first = next(c for c in ax.collections if len(c.get_offsets()) and not hasattr(c, "levels"))
    np.testing.assert_allclose(first.get_offsets(), POINTS[names == "maybe"])
    with pytest.raises(DataError, match="among the model's classes maybe, no, yes, got 'never'"):
        plotting.decision_boundary(fitted, POINTS, ["never"] * 6)


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        ((Network((2, 1)), np.zeros(3)), POINTS, None),
        ((Network((2, 1)), np.asarray([5.0, 0.0, 0.0])), POINTS, "needs class probabilities"),
        ((Network((2, 2), output_activation="logistic"), np.ones(6)), POINTS, "needs class probabilities"),
        (MODEL, POINTS, "needs two inputs, the network has 4"),
        (MODEL, SAMPLES, r"X must be finite, of shape \(samples, 2\)"),
        (MLPRegressor(), POINTS, "needs a classifier, got MLPRegressor"),
    ],
)
def test_boundary_misuse(model, x, message):
    if message is None:
        plotting.decision_boundary(model, x)  # outputs that happen to be probabilities
        return
    with pytest.raises(DataError, match=message):
        plotting.decision_boundary(model, x)


# Hidden units


def test_the_heat_map_holds_the_outputs():
    ax = plotting.hidden_heat_map(MODEL, SAMPLES, layer=2, sample_names=[f"c{k}" for k in range(9)])
    np.testing.assert_allclose(ax.images[0].get_array(), forward(np, NETWORK, THETA, SAMPLES)[1].y)
    assert [label.get_text() for label in ax.get_yticklabels()] == [f"c{k}" for k in range(9)]
    assert (ax.images[0].norm.vmin, ax.images[0].norm.vmax) == (0.0, 1.0)


def test_the_scale_of_a_heat_map_is_symmetric_if_outputs_have_both_signs():
    network = Network((4, 3, 1), activation="tanh")
    image = plotting.hidden_heat_map((network, initial_weights(network)), SAMPLES).images[0]
    assert image.norm.vmin == -image.norm.vmax


def test_principal_components_are_those_of_the_covariance():
    y = np.random.default_rng(0).normal(size=(50, 4)) * [4.0, 1.0, 2.0, 0.1]
    points, shares = principal_components(y)
    variances, directions = np.linalg.eigh(np.cov(y.T))
    np.testing.assert_allclose(shares, variances[::-1][:2] / variances.sum())
    np.testing.assert_allclose(np.abs(points), np.abs((y - y.mean(axis=0)) @ directions[:, ::-1][:, :2]), atol=1e-9)
    np.testing.assert_allclose(principal_components(y[:, ::-1])[0], points, atol=1e-9)  # the sign is settled


def test_the_projection_draws_the_components():
    ax = plotting.hidden_projection(MODEL, SAMPLES, sample_names=[str(k) for k in range(9)])
    points, shares = principal_components(forward(np, NETWORK, THETA, SAMPLES)[0].y)
    np.testing.assert_allclose(ax.collections[0].get_offsets(), points)
    assert f"{100 * shares[0]:.0f} %" in ax.get_xlabel()
    assert [text.get_text() for text in ax.texts] == [str(k) for k in range(9)]


def test_hidden_misuse():
    with pytest.raises(DataError, match=r"needs at least two samples and two units, .* use hidden_heat_map"):
        plotting.hidden_projection((Network((4, 1, 1)), np.ones(7)), SAMPLES)
    with pytest.raises(DataError, match="labels must have one entry for each of 9 samples"):
        plotting.hidden_projection(MODEL, SAMPLES, [1, 2])
    with pytest.raises(DataError, match="as the network has 4 inputs"):
        plotting.hidden_heat_map(MODEL, POINTS)


# Learning rates


def test_the_best_rate_is_marked_and_those_that_diverged_are_at_the_top():
    ax = plotting.learning_rate_curve(RATES)
    line, best, diverged = ax.lines
    np.testing.assert_array_equal(line.get_xydata(), np.stack([RATES.rates, RATES.loss], axis=1))
    np.testing.assert_array_equal(best.get_xydata(), [[0.1, 0.5]])
    assert diverged.get_xdata().tolist() == [1.0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["best: 0.1", "diverged"]
    assert (ax.get_xscale(), ax.get_ylabel()) == ("log", "loss after 3 epochs")
    with pytest.raises(DataError, match="found is what find_learning_rate returns, got list"):
        plotting.learning_rate_curve([1.0])


# Inspection


def test_bars_are_sorted_with_whiskers_of_a_standard_deviation():
    ax = plotting.importance_bars(IMPORTANCE, most=2)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["c", "a"]
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.5, 0.15])
    (whiskers,) = ax.collections
    ends = [segment[:, 0] for segment in whiskers.get_segments()]
    np.testing.assert_allclose(np.ptp(ends, axis=1), 2.0 * np.std([[0.5, 0.4, 0.6], [0.1, 0.2, 0.15]], axis=1))
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first on top


def test_of_two_classes_the_second_is_drawn():
    average = np.asarray([[0.2, 0.8], [0.4, 0.6]])
    dates = np.asarray(["2020-01-01", "2021-01-01"], dtype="datetime64[s]")
    ax = plotting.partial_dependence_curve(PartialDependence("day $x$", dates, ("y=no", "y=yes"), average))
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_ydata(), [0.8, 0.6])
    assert ax.get_ylabel() == "y=yes"
    assert ax.get_xlabel() == r"day \$x\$"
    both = plotting.partial_dependence_curve(PartialDependence("day", dates, ("a", "b"), average))
    assert len(both.lines) == 2  # two targets


def test_rows_are_thin_lines_below_the_mean():
    ax = plotting.partial_dependence_curve(dependence())
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), np.sin(np.linspace(0.0, 4.0, 21)), atol=1e-15)
    assert len(ax.lines) == 8


def test_the_diagonal_is_perfect_calibration():
    ax = plotting.reliability_diagram(RELIABILITY[0])
    diagonal, line = ax.lines
    np.testing.assert_array_equal(*diagonal.get_data())
    np.testing.assert_array_equal(line.get_xydata(), [[0.1, 0.2], [0.5, 0.5], [0.9, 0.7]])
    areas = ax.collections[0].get_sizes() - 10.0
    np.testing.assert_allclose(areas / areas.sum(), np.asarray([10.0, 5.0, 40.0]) / 55.0)
    assert ax.get_legend().get_texts()[0].get_text() == "all (error 0.164)"


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plotting.importance_bars([1.0]), "importance is what permutation_importance returns, got list"),
        (lambda: plotting.importance_bars(IMPORTANCE, most=0), "most must be a whole number of at least 1, got 0"),
        (lambda: plotting.partial_dependence_curve({}), "one of those that partial_dependence returns, got dict"),
        (lambda: plotting.reliability_diagram([]), "what calibration_curve returns, got none"),
        (lambda: plotting.reliability_diagram([IMPORTANCE]), "what calibration_curve returns, got list"),
    ],
)
def test_objects_that_are_not_inspected(draw, message):
    with pytest.raises(DataError, match=message):
        draw()
