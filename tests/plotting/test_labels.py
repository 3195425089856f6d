"""Labels, keys and legends of the pictures: they are there, and cover neither data nor each other."""

from itertools import combinations

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.text import Text

from gpubp import Network, plotting
from gpubp.errors import DataError
from gpubp.nn.passes import loss_and_gradient
from gpubp.plotting._hinton_diagram import MAX_NAMED
from gpubp.plotting.figure import STYLES, legend_above, new_figure
from gpubp.training.state import History
from tests.plotting.test_pictures import DOWN, DRAWN, LINE, MODEL, NETWORK, SAMPLES, THETA, D, X

pytestmark = pytest.mark.once


def drawn(ax):
    """Draw the figure and return its axes, so that the places of its texts are known."""
    ax.figure.canvas.draw()
    return ax


def texts_of(ax):
    """Return the visible texts of a drawn figure with their boxes, a pixel smaller on each side."""
    figure = drawn(ax).figure
    shown = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    return [(text.get_text(), text.get_window_extent().padded(-1)) for text in shown]


def overlapping(texts):
    return [(one[0], other[0]) for one, other in combinations(texts, 2) if one[1].overlaps(other[1])]


@pytest.mark.parametrize("name", DRAWN)
def test_legends_are_whole_and_cover_no_data(name):
    ax = drawn(DRAWN[name](None))
    box = ax.figure.bbox
    for legend in filter(None, (axes.get_legend() for axes in ax.figure.axes)):
        extent = legend.get_window_extent()
        assert not extent.padded(-1).overlaps(ax.get_window_extent())
        assert box.x0 <= extent.x0 < extent.x1 <= box.x1
        assert extent.y1 <= box.y1


def test_long_names_stand_below_each_other():
    names = [f"a rather long name of a curve, the number {k}" for k in range(3)]
    ax = drawn(plotting.learning_curves({name: History([1.0, 0.5]) for name in names}))
    legend = ax.get_legend()
    assert len({round(text.get_window_extent().y0) for text in legend.get_texts()}) == 3
    assert legend.get_window_extent().x1 <= ax.figure.bbox.x1


def test_a_title_stands_above_the_legend():
    ax = plotting.learning_curve(History([1.0, 0.5], [1.0, 0.6], [0.5, 0.6]), title="A title")
    drawn(ax)
    assert ax._left_title.get_window_extent().y0 >= ax.get_legend().get_window_extent().y1


def test_the_number_of_rows_of_a_legend():
    ax = new_figure((3.0, 2.0)).add_subplot()
    for k in range(4):
        ax.plot([0, 1], [0, k], label=f"the line {k}")
    n_rows = legend_above(ax)
    drawn(ax)
    assert n_rows == len({round(text.get_window_extent().y0) for text in ax.get_legend().get_texts()}) > 1


def test_styles_differ_without_colour():
    assert len({str(style.linestyle) for style in STYLES}) == len({style.marker for style in STYLES}) == len(STYLES)


def test_bars_of_several_classes_differ_without_colour():
    ax = DRAWN["dependence-categories"](None)
    assert len({bars.patches[0].get_hatch() for bars in ax.containers}) == len(ax.containers) == 3


# Hinton diagrams

SHAPES = [((6, 2), None), ((6, 1), None), ((9, 7), (3, 3)), ((24, 6), (2, 12)), ((64, 30), (8, 8)), ((1, 1), None)]


@pytest.mark.parametrize(("sizes", "shape"), SHAPES)
def test_texts_of_a_hinton_diagram_cover_nothing(sizes, shape):
    network = Network(sizes)
    theta = np.random.default_rng(0).normal(size=network.n_parameters)
    names = [f"input {k}" for k in range(sizes[0])] if sizes[0] < 64 else None
    ax = plotting.hinton_diagram((network, theta), input_shape=shape, input_names=names)
    texts = texts_of(ax)
    assert {"unit 0", "bias"} <= {text for text, _ in texts}
    assert overlapping(texts) == []
    panels = [path.get_extents().transformed(ax.transData) for k in (0, 2) for path in ax.collections[k].get_paths()]
    assert not any(box.overlaps(panel.padded(-1)) for _, box in texts for panel in panels)
    assert all(ax.figure.bbox.padded(1).containsx(x) for _, box in texts for x in (box.x0, box.x1))


@pytest.mark.parametrize(("sizes", "shape"), SHAPES)
def test_a_hinton_diagram_fills_its_canvas(sizes, shape):
    network = Network(sizes)
    ax = drawn(plotting.hinton_diagram((network, np.ones(network.n_parameters)), input_shape=shape))
    parts = [path.get_extents().transformed(ax.transData) for k in (0, 2) for path in ax.collections[k].get_paths()]
    boxes = [*parts, *(box for _, box in texts_of(ax))]
    blank = 0.4 * ax.figure.dpi  # inches
    assert min(box.x0 for box in boxes) < blank
    assert min(box.y0 for box in boxes) < blank
    assert max(box.x1 for box in boxes) > ax.figure.bbox.x1 - blank
    assert max(box.y1 for box in boxes) > ax.figure.bbox.y1 - blank


def test_the_key_shows_the_largest_weight_and_a_quarter_of_it():
    ax = plotting.hinton_diagram(MODEL, largest=8.0)
    assert [text.get_text() for text in ax.texts[-4:]] == ["8", "2", "−2", "−8"]
    sides = [np.ptp(path.vertices[:, 0]) for path in ax.collections[3].get_paths()]
    np.testing.assert_allclose(np.asarray(sides) / sides[0], [1.0, 0.5, 0.5, 1.0])


def test_the_inputs_of_a_column_are_named_together():
    ax = plotting.hinton_diagram(MODEL, input_shape=(2, 2), input_names=["a", "b", "c", "d"], across=3)
    named = [text.get_text() for text in ax.texts if "," in text.get_text()]
    assert named == ["a, c", "b, d"] * 3
    with pytest.raises(DataError, match="input_names must be 4 names, got 1"):
        plotting.hinton_diagram(MODEL, input_names=["a"])


def test_inputs_without_names_are_numbered_in_one_row_of_few():
    def numbered(network, **options):
        ax = plotting.hinton_diagram((network, np.ones(network.n_parameters)), **options)
        return [text.get_text() for text in ax.texts if text.get_text().isdigit()]

    assert numbered(Network((3, 1), bias=False))[:3] == ["0", "1", "2"]
    assert "0" not in numbered(Network((4, 1)), input_shape=(2, 2))
    assert "0" not in numbered(Network((MAX_NAMED + 1, 1)))


# Surfaces, heat maps, networks


def test_a_surface_shows_values_start_and_the_lowest_loss():
    ax = plotting.loss_surface((LINE, DOWN[0]), X, D, paths={"down": DOWN})
    _, start, lowest = ax.lines
    np.testing.assert_array_equal(start.get_xydata(), DOWN[:1])
    loss = float(loss_and_gradient(np, LINE, lowest.get_xydata()[0], X, D)[0])
    assert lowest.get_label() == f"lowest loss, {loss:.2g}"
    losses = [float(loss_and_gradient(np, LINE, theta, X, D)[0]) for theta in DOWN]
    assert loss <= min(losses)
    assert len(ax.texts) >= 3  # the losses of contours
    assert all(float(text.get_text()) > 0.0 for text in ax.texts)


def test_the_lowest_loss_is_inside_the_limits():
    limits = ((-3.0, -1.5), (1.5, 3.0))
    ax = plotting.loss_surface((LINE, DOWN[0]), X, D, paths={"down": DOWN}, limits=limits, resolution=11)
    (across, upwards) = ax.lines[-1].get_xydata()[0]
    assert -3.0 <= across <= -1.5 <= 1.5 <= upwards <= 3.0


def test_units_of_a_heat_map_are_named_and_outputs_written():
    names = ["left", "middle", "right"]
    ax = plotting.hidden_heat_map(MODEL, SAMPLES, unit_names=names)
    assert [text.get_text() for text in ax.get_xticklabels()] == names
    written = [float(text.get_text()) for text in ax.texts]
    np.testing.assert_allclose(written, ax.images[0].get_array().ravel(), atol=0.005001)
    assert ax.figure.axes[1].get_ylabel() == "output"
    with pytest.raises(DataError, match="unit_names must be 3 names, got 2"):
        plotting.hidden_heat_map(MODEL, SAMPLES, unit_names=names[:2])


def test_many_outputs_are_not_written():
    assert not plotting.hidden_heat_map(MODEL, np.repeat(SAMPLES, 4, axis=0)).texts


def test_the_signs_of_a_network_are_explained():
    legend = plotting.network_diagram((NETWORK, THETA)).get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["positive weight", "negative weight"]
    assert not legend.get_lines()[0].is_dashed()
    assert legend.get_lines()[1].is_dashed()
