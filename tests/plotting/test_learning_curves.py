"""Learning curves: the data of the lines, the axes, and the picture file."""

import sys

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from gpubp import MLPClassifier, Network, train  # noqa: E402
from gpubp.errors import DataError, GpubpError  # noqa: E402
from gpubp.plotting._learning_curves import (  # noqa: E402
    SCORE,
    TRAINING,
    VALIDATION,
    learning_curve,
    learning_curves,
    save_learning_curve,
)
from gpubp.training.state import History  # noqa: E402

ERROR = [0.9, 0.5, 0.3, 0.25]
VALIDATION_ERROR = [1.0, 0.6, 0.4, 0.45]
VALIDATION_SCORE = [0.5, 0.75, 0.875, 0.8125]
PNG = b"\x89PNG\r\n\x1a\n"


def has_colour(ax, style) -> bool:
    """Return whether the picture has a hundred pixels of a line's colour."""
    canvas = ax.figure.canvas
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3].reshape(-1, 3).astype(int)
    colour = [int(style["color"][i : i + 2], 16) for i in (1, 3, 5)]
    return (np.abs(image - colour).max(axis=1) < 8).sum() > 100


def lines(ax) -> dict[str, tuple[list[float], list[float]]]:
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in ax.lines
        if not line.get_label().startswith("_")
    }


def test_the_lines_hold_the_history():
    ax = learning_curve(History(ERROR, VALIDATION_ERROR))
    epochs = [1, 2, 3, 4]
    assert lines(ax) == {"training loss": (epochs, ERROR), "validation loss": (epochs, VALIDATION_ERROR)}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["training loss", "validation loss"]
    assert ax.figure.axes == [ax]


def test_the_score_has_its_own_axis():
    ax = learning_curve(History(ERROR, VALIDATION_ERROR, VALIDATION_SCORE))
    left, right = ax.figure.axes
    assert left is ax
    assert lines(right) == {"validation score": ([1, 2, 3, 4], VALIDATION_SCORE)}
    assert "validation score" not in lines(left)
    assert right.get_ylabel() == "score"
    assert right.yaxis.get_label_position() == "right"
    assert len(ax.get_legend().get_texts()) == 3


def test_one_line_needs_no_legend():
    assert learning_curve(History(ERROR)).get_legend() is None


def test_the_best_epoch_is_marked():
    ax = learning_curve(History(ERROR, VALIDATION_ERROR, VALIDATION_SCORE))
    [note] = ax.figure.axes[1].texts
    assert note.get_text() == "best: 0.875 in epoch 3"
    [note] = learning_curve(History(ERROR, VALIDATION_ERROR)).texts
    assert note.get_text() == "best: 0.4 in epoch 3"
    assert note.xy == (3, 0.4)


def test_the_best_epoch_can_be_that_of_the_loss():
    history = History(ERROR, VALIDATION_ERROR[:2], VALIDATION_SCORE)
    ax = learning_curve(history, score_name="accuracy", monitored="loss")
    right = ax.figure.axes[1]
    assert list(lines(right)) == ["validation accuracy"]
    assert right.get_ylabel() == "accuracy"
    assert [note.get_text() for note in ax.texts] == ["best: 0.6 in epoch 2"]
    assert not right.texts


@pytest.mark.parametrize(
    ("error", "scale"),
    [
        ([1.0, 0.02], "linear"),
        ([1.0, 0.009], "log"),
        ([1e-3, 1e-6], "log"),
        ([1.0, 0.0], "linear"),
        ([-1.0, 1e3], "linear"),
        ([np.inf, 1.0], "linear"),
    ],
)
def test_the_axis_is_logarithmic_if_the_loss_spans_decades(error, scale):
    assert learning_curve(History(error)).get_yscale() == scale


def test_a_stack_is_its_median_and_the_band_of_its_middle_half():
    error = [np.asarray([1.0, 2.0, 3.0, 4.0, 50.0]), np.asarray([0.5, 1.0, 1.5, 2.0, np.nan])]
    ax = learning_curve(History(error))
    assert lines(ax) == {"training loss, median of 5": ([1, 2], [3.0, 1.25])}
    [band] = ax.collections
    low, high = (band.get_paths()[0].get_extents().get_points()[:, 1]).tolist()
    assert (low, high) == (0.875, 4.0)
    assert to_hex(band.get_facecolor()[0]) == TRAINING["color"].lower()


def test_a_diverged_stack_is_drawn_without_warnings():
    ax = learning_curve(History([np.asarray([1.0, 2.0]), np.asarray([np.nan, np.inf])]))
    ax.figure.canvas.draw()
    assert np.isnan(lines(ax)["training loss, median of 2"][1][1])


def test_a_single_epoch_is_visible():
    ax = learning_curve(History([0.5], [0.75], [0.5]))
    assert [line.get_marker() for line in ax.lines[:2]] == ["o", "o"]
    assert has_colour(ax, TRAINING)


def test_the_colours_are_distinct_without_colour_vision_too():
    ax = learning_curve(History(ERROR, VALIDATION_ERROR, VALIDATION_SCORE))
    for style in (TRAINING, VALIDATION, SCORE):
        assert has_colour(ax, style), style
    assert len({style["linestyle"] for style in (TRAINING, VALIDATION, SCORE)}) == 3


def test_the_axes_of_the_caller_are_used():
    figure = Figure()
    FigureCanvasAgg(figure)
    first, second = figure.subplots(1, 2)
    assert learning_curve(History(ERROR), second, title="mine") is second
    assert not first.lines
    assert second.get_title(loc="left") == "mine"


@pytest.mark.parametrize(("suffix", "start"), [(".png", PNG), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_a_picture_is_written(tmp_path, suffix, start):
    path = tmp_path / f"curve{suffix}"
    save_learning_curve(History(ERROR, VALIDATION_ERROR, VALIDATION_SCORE), path, title="a title")
    assert path.read_bytes().startswith(start)
    assert path.stat().st_size > 2000


def test_the_history_of_a_training(tmp_path):
    x, targets = np.asarray([[0.0], [1.0]]), np.asarray([[0.0], [1.0]])
    fit = train(Network((1, 1)), x, targets, epochs=5, validation_data=(x, targets), seed=[0, 1, 2], device="cpu")
    ax = learning_curve(fit.history)
    assert set(lines(ax)) == {"training loss, median of 3", "validation loss, median of 3"}
    save_learning_curve(fit.history, str(tmp_path / "curve.png"))


@pytest.mark.parametrize("name", ["missing/curve.png", "curve.nothing"])
def test_a_file_that_cannot_be_written(tmp_path, name):
    with pytest.raises(DataError, match=r"cannot be written to .*curve"):
        save_learning_curve(History(ERROR), tmp_path / name)


def test_an_empty_history():
    with pytest.raises(DataError, match="empty"):
        learning_curve(History())


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(GpubpError, match="pip install matplotlib"):
        learning_curve(History(ERROR))


@pytest.mark.parametrize("draw", [learning_curve, lambda model: learning_curves({"one": model})])
def test_what_is_not_a_history(draw):
    model = MLPClassifier((2,), max_iter=1, device="cpu")
    with pytest.raises(DataError, match=r"such as fit\.history, got MLPClassifier; .* plot_loss_curve\(\)"):
        draw(model)
