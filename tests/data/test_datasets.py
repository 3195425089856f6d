"""Built-in data sets: shapes, ranges, and the definitions of the small ones."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from gpubp.data.datasets import DATASETS, encoder, load_dataset, one_hot, parity, rain, symmetry, xor
from gpubp.errors import DataError

SHAPES = {
    "digits": (1797, 64, 10),
    "iris": (150, 4, 3),
    "wine": (178, 13, 3),
    "breast_cancer": (569, 30, 2),
    "diabetes": (442, 10, 1),
    "linnerud": (20, 3, 3),
    "rain": (3, 2, 1),
    "xor": (4, 2, 1),
    "symmetry": (64, 6, 1),
    "parity": (16, 4, 1),
    "encoder": (8, 8, 8),
}


def test_every_data_set_is_tested():
    assert set(SHAPES) == set(DATASETS)


@pytest.mark.parametrize("name", DATASETS)
def test_shapes_types_and_names(name):
    dataset = load_dataset(name)
    n, i, j = SHAPES[name]
    assert dataset.name == name
    assert dataset.X.shape == (n, i)
    assert dataset.targets.shape == (n, j)
    assert dataset.X.dtype == dataset.targets.dtype == np.float64
    assert np.isfinite(dataset.X).all()
    assert len(dataset.feature_names) == len(set(dataset.feature_names)) == i
    assert dataset.description.endswith(".")
    if dataset.classes is None:
        assert len(dataset.target_names) == j
        with pytest.raises(DataError, match="no classes"):
            _ = dataset.labels
    else:
        assert len(dataset.classes) == j
        np.testing.assert_array_equal(dataset.targets.sum(axis=1), 1.0)
        assert set(dataset.labels) == set(dataset.classes)


def test_labels_follow_the_bundled_targets():
    iris = load_dataset("iris")
    assert list(iris.labels[[0, 50, 149]]) == ["setosa", "versicolor", "virginica"]
    assert load_dataset("breast_cancer").labels[0] == "malignant"


def test_digits_are_divided_by_16():
    assert load_dataset("digits").X.max() == 1.0


def test_rain_is_the_slide_table():
    dataset = rain()
    assert dataset.X.tolist() == [[3, 5], [1, 6], [0, 8]]
    assert dataset.targets.tolist() == [[0.99], [0.59], [0.19]]
    assert dataset.feature_names == ("days raining", "Kdp")


def test_xor_is_parity_of_two_bits():
    np.testing.assert_array_equal(xor().X, parity(2).X)
    np.testing.assert_array_equal(xor().targets, parity(2).targets)


@pytest.mark.parametrize("n_bits", [1, 2, 5, 6])
def test_bits_come_in_counting_order_and_have_the_right_targets(n_bits):
    vectors = list(itertools.product([0.0, 1.0], repeat=n_bits))
    assert parity(n_bits).X.tolist() == [list(vector) for vector in vectors]
    assert symmetry(n_bits).X.tolist() == [list(vector) for vector in vectors]
    assert parity(n_bits).targets.ravel().tolist() == [sum(vector) % 2 for vector in vectors]
    assert symmetry(n_bits).targets.ravel().tolist() == [float(vector == vector[::-1]) for vector in vectors]


def test_six_bits_have_eight_symmetric_vectors():
    assert symmetry().targets.sum() == 8


def test_encoder_is_the_identity():
    np.testing.assert_array_equal(encoder(5).X, np.eye(5))
    np.testing.assert_array_equal(encoder().targets, np.eye(8))


@pytest.mark.parametrize("make", [lambda: parity(0), lambda: symmetry(17), lambda: encoder(0)])
def test_sizes_out_of_range_are_refused(make):
    with pytest.raises(DataError, match="must be"):
        make()


def test_an_unknown_name_gets_the_nearest_and_all_names():
    with pytest.raises(DataError, match=r"'IRIS' \(did you mean 'iris'\?\); there are digits, iris"):
        load_dataset("IRIS")


def test_one_hot_of_integers_and_of_text():
    assert one_hot([2, 0]).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert one_hot([0], n_classes=2).tolist() == [[1, 0]]
    assert one_hot(np.array(["b", "a", "b"], dtype=object)).tolist() == [[0, 1], [1, 0], [0, 1]]
    assert one_hot(np.array([], dtype=int), n_classes=2).shape == (0, 2)


@pytest.mark.parametrize(
    ("labels", "n_classes", "message"),
    [
        ([-1, 0], None, "columns -1 to 0"),
        ([0, 3], 3, "columns 0 to 3, but there are 0 to 2"),
        (["a", "b"], 1, "there are 0 to 0"),
        ([0.5], None, "integers or strings"),
        ([[0], [1]], None, r"shape \(2, 1\)"),
    ],
)
def test_one_hot_refuses(labels, n_classes, message):
    with pytest.raises(DataError, match=message):
        one_hot(labels, n_classes)


def test_importing_the_data_package_imports_nothing_heavy():
    code = "import sys, gpubp.data; print(sorted({'sklearn', 'pyarrow', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
