"""pandas-dev/pandas#55032, OasisLMF/OasisLMF#307: the text NA (Namibia, sodium, North America) is read as missing.

Among other codes of two letters it is plainly a code, and a category that a model knows is that category, whatever the
other rows of a file are. A text for a missing value that no category has is missing, and missing values have an input.
"""

import numpy as np
import pytest

import gpubp
from gpubp.data import apply, read_table

CPU = {"device": "cpu"}


@pytest.fixture
def country(tmp_path):
    """Return a model that was trained on countries, and a function that predicts the rows of a file."""
    codes, amounts = ["NA", "DE", "", "FR", "GB", "IT", "US"], np.random.default_rng(7).normal(size=140)
    rows = [f"{codes[k % 7]},{amount:.3f},{'first' if k % 7 == 0 else 'other'}\n" for k, amount in enumerate(amounts)]
    train = tmp_path / "train.csv"
    train.write_text("country,a,y\n" + "".join(rows))
    model = gpubp.fit_table(gpubp.prepare_table(train, target="y"), epochs=80, **CPU).model

    def predict(text):
        path = tmp_path / "new.csv"
        path.write_text("country,a\n" + text)
        return gpubp.predict_table(model, path, **CPU)

    return predict


def test_a_row_is_predicted_alike_alone_and_beside_others(country):
    both, alone = country("NA,0.5\nDE,0.5\n"), country("NA,0.5\n")
    assert both["y=first"][0] == pytest.approx(alone["y=first"][0], abs=1e-6)
    assert alone["y"][0] == "first"


@pytest.mark.parametrize("missing", ["null", "N/A", "nan"])
def test_other_texts_for_missing_values_are_missing(country, missing):
    predicted = country(f"{missing},0.5\n,0.5\nNA,0.5\n")
    assert predicted["y=first"][0] == pytest.approx(predicted["y=first"][1], abs=1e-6)
    assert predicted["y"].tolist() == ["other", "other", "first"]


@pytest.mark.parametrize("mark", ["NA", "null", '""'])
def test_among_other_texts_it_is_missing(tmp_path, mark):
    path = tmp_path / "train.csv"
    path.write_text("country,y\n" + "NA,a\nDE,b\nFR,b\n" * 10)
    preprocessing = gpubp.prepare_table(path).preprocessing
    assert preprocessing.feature_names == ("country=DE", "country=FR", "country=missing")
    path.write_text(f"country\n{mark}\nDE\n")
    np.testing.assert_array_equal(apply(preprocessing, read_table(path)), [[0, 0, 1], [1, 0, 0]])
