"""Objects where a network or a model belongs: an estimator, a path, the result of a fit. Errors say what to call."""

import pickle

import joblib
import numpy as np
import pytest

import gpubp
from gpubp import (
    Network,
    TabularClassifier,
    fit_table,
    load_model,
    predict,
    predict_table,
    prepare_table,
    save_model,
    train,
)
from gpubp.errors import DataError, ModelFileError

NETWORK = Network((2, 3))
THETA = np.zeros(9, "float32")
X = np.zeros((4, 2))


@pytest.fixture(scope="module")
def objects():
    result = fit_table(prepare_table("iris"), epochs=1, refit=False, device="cpu")
    return {
        "path": "model.safetensors",
        "estimator": gpubp.MLPClassifier(),
        "estimator for tables": TabularClassifier(),
        "fit": train(NETWORK, X, np.eye(4, 3), epochs=1, device="cpu"),
        "table fit": result,
        "model": result.model,
        "number": 3,
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("path", "got str; predict_table(load_model(path), table) predicts with a model file"),
        ("estimator", "got MLPClassifier; call its predict(X)"),
        ("estimator for tables", "got TabularClassifier; call its predict(X)"),
        ("fit", "got Fit; pass its parts: predict(fit.network, fit.theta, X)"),
        ("table fit", "got TableFit; predict_table(result.model, table) predicts with its model"),
        ("model", "got Model; predict_table(model, table) reads the columns"),
        ("number", "got int; the arguments are network, theta, X, with a gpubp.Network"),
    ],
)
def test_predict(objects, name, words):
    value = objects[name]
    for call in (lambda: predict(value, X), lambda: predict(value, THETA, X), lambda: predict(network=value, X=X)):
        with pytest.raises(DataError) as raised:
            call()
        assert words in str(raised.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("path", "fit_table(prepare_table(path, target=...)) trains on a table"),
        ("estimator", "call its fit(X, y)"),
        ("fit", "train(fit.network, X, targets, theta=fit.theta)"),
        ("table fit", "it is trained"),
    ],
)
def test_train(objects, name, words):
    with pytest.raises(DataError) as raised:
        train(objects[name], X)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("path", "the path comes first"),
        ("estimator", "joblib.dump(estimator, path) saves it"),
        ("estimator for tables", "its save(path) writes a model file"),
        ("fit", "save_model(path, fit.network, fit.theta)"),
        ("table fit", "save_model(path, result.model)"),
        ("number", "the arguments are path, network, theta"),
    ],
)
def test_save_model(objects, tmp_path, name, words):
    for others in ((), (THETA,)):
        with pytest.raises(DataError) as raised:
            save_model(tmp_path / "m.safetensors", objects[name], *others)
        assert words in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_model_is_saved_whole(objects, tmp_path):
    model = objects["model"]
    save_model(tmp_path / "one", model)
    save_model(tmp_path / "two", model.network, model.theta, preprocessing=model.preprocessing, about=model.about)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with pytest.raises(DataError, match="a Model has its own theta, preprocessing and about; omit them"):
        save_model(tmp_path / "one", model, about={})
    with pytest.raises(DataError, match="needs the parameters of the network, theta"):
        save_model(tmp_path / "one", NETWORK)


@pytest.mark.parametrize(("name", "words"), [("path", "load_model(path)"), ("estimator", "call its predict(X)")])
@pytest.mark.parametrize("strict", [False, True])
def test_predict_table(objects, name, words, strict):
    with pytest.raises(DataError) as raised:
        predict_table(objects[name], "iris", strict=strict)
    assert words in str(raised.value)


def test_fit_table_and_to_onnx(objects):
    with pytest.raises(DataError, match=r"trained on, got str; prepare_table\(table, target=...\) makes one"):
        fit_table("iris")
    with pytest.raises(DataError, match=r"got TableFit; to_onnx\(result.model\) exports its model"):
        gpubp.to_onnx(objects["table fit"])


@pytest.mark.parametrize("name", ["m.joblib", "m.pkl", "m.bin", "m.onnx"])
def test_files_of_other_programs(tmp_path, name):
    path = tmp_path / name
    if name == "m.joblib":
        joblib.dump({"a": 1}, path, compress=3)
    else:
        path.write_bytes(pickle.dumps({"a": 1}) if name != "m.onnx" else b"\x08\x0a")
    expected = "an ONNX model, .* onnxruntime runs it" if name == "m.onnx" else "a pickle, .* joblib.load"
    with pytest.raises(ModelFileError, match=rf"{name} is {expected}"):
        load_model(path)
