"""The budget of calls that docs/cuda_budget.md states is kept, and is within its limits."""

import pytest

from tests.cuda_on_cpu.budget import IN_ONE_SHAPE, ROWS, SHAPES, SPECIAL, counts_of_page, line_of, lines_of_page


@pytest.mark.parametrize("row", ROWS)
def test_the_page_has_the_counts(row):
    assert lines_of_page().get(row) == line_of(row), "python -m tests.cuda_on_cpu.budget writes the present ones"


def test_the_page_has_no_other_rows():
    assert [*lines_of_page()] == [*ROWS]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["a search", "an ensemble"])
def test_a_search_takes_few_launches_and_no_upload_a_step(name, shape):
    counts = counts_of_page(f"{name}, {shape}")
    assert counts.launches_of_step <= 12
    assert counts.uploads <= 1  # of an epoch, for all of its steps


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("name", "plain"),
    [("clipped", "one network"), ("dropout", "one network"), ("a search, clipped, with dropout", "a search")],
)
def test_clipping_and_dropout_take_few_launches_more(name, plain, shape):
    plain = counts_of_page(f"{plain}, {shape}")
    assert counts_of_page(f"{name}, {shape}").launches_of_step <= plain.launches_of_step + 3


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_products_of_16_bits_take_few_launches_more(name):
    plain = counts_of_page("one network, layered")
    assert counts_of_page(f"products in {name}").launches_of_step <= plain.launches_of_step + 3


@pytest.mark.parametrize("shape", SHAPES)
def test_partial_fit_keeps_its_arrays_and_graphs(shape):
    counts = counts_of_page(f"partial_fit, {shape}")  # an epoch is a call, of 8 steps
    assert counts.starts <= 12
    assert counts.uploads <= 2  # samples, targets and parameters together, and the numbers of the steps
    assert counts.allocations == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["one network", "validation data", "a schedule", "a stack"])
def test_a_fit_uploads_its_arrays_together_and_waits_only_for_the_parameters(name, shape):
    counts = counts_of_page(f"{name}, {shape}")
    assert counts.waits_of_fit == counts.downloads_of_fit == 1
    assert counts.uploads_of_fit <= 1 + (shape == "layered")  # which step of the graph is the next


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("name", "uploads", "waits"),
    [
        ("an ensemble", 1, 1),
        ("a search", 1 + 8, 1 + 8),  # each of 8 networks predicts for its score
        ("a search, early stopping", 1 + 2 * 2 + 8, 2 + 8),  # and the held-out samples of two folds, and the best
    ],
)
def test_stacks_upload_their_arrays_together(name, uploads, waits, shape):
    counts = counts_of_page(f"{name}, {shape}")
    assert counts.uploads_of_fit <= uploads + 2 * (shape == "layered")
    assert counts.waits_of_fit == counts.downloads_of_fit <= waits


def test_the_values_of_arrays_on_the_device_take_one_download_to_check():
    counts = counts_of_page("validation data, arrays on the GPU")
    assert counts.waits_of_fit == counts.downloads_of_fit == 1  # the parameters stay there


@pytest.mark.parametrize("shape", SHAPES)
def test_a_fit_of_an_estimator_takes_the_arrays_of_the_last_one(shape):
    assert counts_of_page(f"fits of one estimator, {shape}").allocations == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_a_validation_takes_few_launches_and_one_wait(shape):
    counts, plain = (counts_of_page(f"{name}, {shape}") for name in ("validation data", "one network"))
    assert counts.starts <= plain.starts + 6
    assert counts.waits <= plain.waits + 1
    assert counts.uploads == plain.uploads


@pytest.mark.parametrize("shape", SHAPES)
def test_early_stopping_of_a_search_takes_one_download_and_no_upload(shape):
    """Each fold has held-out samples of its own, which stay on the device."""
    counts, plain = (counts_of_page(f"{name}, {shape}") for name in ("a search, early stopping", "a search"))
    assert counts.uploads == plain.uploads  # of an epoch
    assert counts.downloads == plain.downloads + 1
    assert counts.waits == plain.waits + 1


@pytest.mark.parametrize(
    ("row", "starts"), [("predict_proba", 4), ("predict_proba of an ensemble", 5), ("networks of a table", 5)]
)
def test_a_prediction_takes_few_launches_and_one_wait(row, starts):
    counts = counts_of_page(row)  # an epoch is a call; of several networks the device takes the mean
    assert counts.starts <= starts
    assert counts.waits == counts.downloads == 1
    assert counts.allocations == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_early_stopping_uploads_each_part_of_the_samples_once(shape):
    """The rows of each part are chosen on the host."""
    counts, plain = (counts_of_page(f"{name}, {shape}") for name in ("early stopping", "validation data"))
    assert counts.uploads_of_fit <= plain.uploads_of_fit + 1 + (shape == "layered")


@pytest.mark.parametrize("form", ["validation", "predict"])
@pytest.mark.parametrize("name", SPECIAL)
def test_networks_of_tables_take_two_launches_a_layer_and_one_more_for_connections_that_skip(form, name):
    network, counts = SPECIAL[name], counts_of_page(f"{form}, {name}")
    assert counts.starts <= 2 * len(network.shapes) + len(network.skips) + (4 if network.n_members else 2)
    assert counts.allocations == 0
    assert counts.waits == counts.downloads == 1
    assert counts.uploads == (0 if form == "validation" else 1)


@pytest.mark.parametrize("row", [row for row in ROWS if row.startswith("train, ")])
def test_training_of_networks_of_tables_is_in_graphs(row):
    counts = counts_of_page(row)  # an epoch is one graph of 8 steps
    assert counts.starts <= 3
    assert counts.launches_of_step <= (85 if "TabM" in row else 50)  # members have no kernels
    assert counts.waits == counts.uploads == counts.downloads == 1
    assert counts.allocations == 0


def test_a_validation_of_sparse_samples_takes_three_launches_more_and_one_upload():
    """They take the rows of the weights of the inputs in which samples have values."""
    counts = counts_of_page("validation, sparse samples")
    assert counts.starts <= 5 + 3
    assert counts.uploads == counts.waits == counts.downloads == 1
    assert counts.allocations == 0


@pytest.mark.parametrize(
    ("row", "starts", "waits"),
    [
        ("score of a classifier", 5, 1),  # the classes
        ("score of a classifier, of arrays on the GPU", 12, 2),  # whether X is finite, and how many are correct
        ("score of a regressor, of arrays on the GPU", 17, 2),  # that, and two figures of each output
    ],
)
def test_a_score_takes_no_more_than_a_figure_from_the_device(row, starts, waits):
    counts = counts_of_page(row)  # an epoch is a call
    assert counts.starts <= starts
    assert counts.waits == counts.downloads == waits
    assert counts.uploads <= 2  # the parameters, and X or the classes
    assert counts.allocations == 0


@pytest.mark.parametrize("row", [row for row in ROWS if row not in IN_ONE_SHAPE and "fit" not in row])
def test_an_epoch_uploads_and_downloads_once(row):
    """The numbers of its steps, and its results; a validation has a download of its own."""
    counts = counts_of_page(row)
    assert counts.uploads <= 1
    assert counts.downloads <= 1 + any(word in row for word in ("validation", "early stopping"))


@pytest.mark.parametrize("row", [row for row in ROWS if row not in IN_ONE_SHAPE])
def test_no_step_waits_or_copies(row):
    counts = counts_of_page(row)
    assert max(counts.waits, counts.uploads, counts.downloads) <= 5  # of an epoch, of 8 steps
    assert counts.allocations == 0


def test_lbfgs_launches_each_evaluation_once_and_copies_its_numbers_together():
    counts = counts_of_page("L-BFGS")  # an epoch is an iteration, mostly of one evaluation
    assert counts.downloads <= 5
    assert counts.uploads == 0
    assert counts.starts <= 100
