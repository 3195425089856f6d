"""Files of all releases are read, and predict what they predicted then; docs/files.md has the policy."""

import json
import re
import shutil

import numpy as np
import pytest

import gpubp
from gpubp.errors import ModelFileError
from gpubp.io import model_file
from gpubp.io.safetensors import read_tensors
from gpubp.training import checkpoint_file
from tests.files.make import (
    AFTER,
    CHECKPOINTS,
    FOLDER,
    MAKERS,
    NETWORKS,
    SUFFIX,
    TABLES,
    new_rows,
    outputs_of,
    predictions_of,
    run,
)

FORMATS = {"gpubp": model_file.FORMAT, "gpubp_checkpoint": checkpoint_file.FORMAT}
RELEASES = sorted(
    (folder for folder in FOLDER.iterdir() if re.fullmatch(r"[\d.]+", folder.name)),
    key=lambda folder: [int(number) for number in folder.name.split(".")],
)


def files(kinds):
    paths = [path for folder in RELEASES for path in sorted(folder.glob(f"*{SUFFIX}")) if path.stem in kinds]
    return pytest.mark.parametrize("path", paths, ids=lambda path: f"{path.parent.name}-{path.stem}")


def expected_of(path):
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def header_of(path):
    """Return the key of a file's header, and the header."""
    ((key, text),) = read_tensors(path)[0].items()
    return key, json.loads(text)


@files(NETWORKS)
def test_networks(path):
    np.testing.assert_allclose(outputs_of(path), expected_of(path)["outputs"], rtol=1e-5, atol=1e-6)


def assert_same_columns(columns, expected):
    assert [*columns] == [*expected]
    for name, values in expected.items():
        if isinstance(values[0], str):
            assert list(columns[name]) == values
        else:
            np.testing.assert_allclose(columns[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


@files(TABLES)
def test_models_of_tables(path):
    assert_same_columns(predictions_of(path), expected_of(path)["predictions"])


@files(TABLES)
@pytest.mark.filterwarnings("ignore::gpubp.TableWarning", "ignore:.*optimizer that a model file cannot hold")
def test_estimators_for_tables(path):
    expected = expected_of(path)
    model = getattr(gpubp, expected["kind"]).load(path)
    predicted = model.set_params(device="cpu").predict(new_rows())
    assert_same_columns({"target": predicted}, {"target": expected["predictions"]["target"]})


@files(CHECKPOINTS)
def test_trainings_continue_from_checkpoints(path, tmp_path):
    expected = expected_of(path)
    shutil.copy(path, tmp_path / expected["name"])
    outputs = run(path.stem, tmp_path, AFTER, resume=True)
    tolerance = 1e-4 if "float32" in path.stem else 1e-6
    np.testing.assert_allclose(outputs, expected["outputs"], rtol=tolerance, atol=tolerance)


@files(MAKERS)
def test_each_file_has_the_number_of_its_format(path):
    key, header = header_of(path)
    assert 1 <= header["format"] <= FORMATS[key]
    assert header["version"] == path.parent.name


def test_every_kind_of_file_is_kept():
    newest = RELEASES[-1]
    assert {path.stem for path in newest.glob(f"*{SUFFIX}")} == {*MAKERS}, "python -m tests.files.make"
    kept = {path.stem for folder in RELEASES for path in folder.iterdir()}
    assert kept == {*MAKERS}, "a kind that is no longer made is still read: keep it in tests/files/make.py"
    formats = {(key, header["format"]) for path in newest.glob(f"*{SUFFIX}") for key, header in [header_of(path)]}
    assert formats == {(key, number) for key, last in FORMATS.items() for number in range(1, last + 1)}


def parts_of(value):
    """Return the keys and the types in JSON, without its values."""
    if isinstance(value, dict):
        return {key: parts_of(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(parts_of(inner), sort_keys=True) for inner in value})
    return "number" if type(value) in (int, float) else type(value).__name__


@pytest.mark.once
@pytest.mark.parametrize("name", [name for name in MAKERS if name != "table-best"])  # whose network depends on time
def test_what_is_written_now_has_the_parts_of_its_format(name, tmp_path):
    """A failure means that the format has changed: CONTRIBUTING.md says what to do."""
    path = tmp_path / f"{name}{SUFFIX}"
    MAKERS[name](name, path)
    (key, now), (key_then, then) = header_of(path), header_of(RELEASES[-1] / path.name)
    assert (key, now["format"]) == (key_then, then["format"])
    for header in (now, then):
        header.pop("about", None)  # facts: each that is absent has a meaning
    assert parts_of(now) == parts_of(then)


def test_a_preprocessing_of_a_newer_version_requires_an_upgrade(tmp_path):
    from gpubp.data.preprocessing import preprocessing_of

    model = gpubp.load_model(RELEASES[-1] / f"table-numbers{SUFFIX}")
    model.preprocessing["columns"][0]["of_the_future"] = 1
    for version, message in (("99.0", "of gpubp 99.0, newer than this one"), ("0.0.1", "malformed")):
        newer = model_file.Model(model.network, model.theta, model.preprocessing, model.about, version)
        with pytest.raises(ModelFileError, match=message):
            preprocessing_of(newer)
