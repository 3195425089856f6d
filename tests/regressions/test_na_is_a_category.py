"""pandas-dev/pandas#55032, OasisLMF/OasisLMF#307: the text NA (Namibia, sodium, North America) is read as missing.

A category ``NA`` that a model knows is that category, whatever the other rows of the file are. A text for a missing
value that no category has is missing.
"""

import numpy as np
import pytest

import gpubp
from gpubp.errors import DataError

CPU = {"device": "cpu"}


@pytest.fixture
def country(tmp_path):
    """Return a model that was trained on countries, and a function that predicts the rows of a file."""
    codes, amounts = ["NA", "DE", "DE", "FR"], np.random.default_rng(7).normal(size=90)
    rows = [f"{codes[k % 4]},{amount:.3f},{'first' if k % 4 == 0 else 'other'}\n" for k, amount in enumerate(amounts)]
    train = tmp_path / "train.csv"
    train.write_text("country,a,y\n" + "".join(rows))
    model = gpubp.fit_table(gpubp.prepare_table(train, target="y", impute=True), epochs=80, **CPU).model

    def predict(text):
        path = tmp_path / "new.csv"
        path.write_text("country,a\n" + text)
        return gpubp.predict_table(model, path, **CPU)

    return predict


def test_a_row_is_predicted_alike_alone_and_beside_others(country):
    both, alone = country("NA,0.5\nDE,0.5\n"), country("NA,0.5\n")
    assert both["y=first"][0] == pytest.approx(alone["y=first"][0], abs=1e-6)
    assert alone["y"][0] == "first"


@pytest.mark.parametrize("missing", ["", "null", "N/A", "nan"])
def test_other_texts_for_missing_values_are_filled(country, missing):
    filled = country(f"{missing},0.5\nDE,0.5\n")
    assert filled["y=first"][0] == pytest.approx(filled["y=first"][1], abs=1e-6)


def test_a_missing_value_is_refused_with_its_row_if_nothing_fills_it(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("country,y\n" + "NA,a\nDE,b\n" * 10)
    model = gpubp.fit_table(gpubp.prepare_table(path), epochs=1, **CPU).model
    path.write_text("country\nNA\nnull\n")
    with pytest.raises(DataError, match=r"'country' has 1 missing values \(first in row 2 \(not counting the header\)"):
        gpubp.predict_table(model, path, **CPU)
