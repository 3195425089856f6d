"""Model files: round trips, and every kind of broken file is refused with its path and a fix."""

import json
import os
import pickle
import stat
import struct

import array_api_strict
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

import gpubp
from gpubp import Network, load_model, save_model
from gpubp.errors import DataError, ModelFileError
from gpubp.io import atomic_files, json_header
from gpubp.io.model_file import FORMAT
from gpubp.nn.initialization import initial_weights
from tests.interrupts import interrupt

NETWORK = Network((3, 4, 2), activation="tanh", loss="cross_entropy")
PREPROCESSING = {"columns": [{"name": "größe", "mean": 0.5}], "dropped": []}
ABOUT = {"task": "classification", "scores": {"test": {"accuracy": 0.5}}, "none": None}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def content(path):
    """Return the bytes of a valid model file."""
    save_model(path, NETWORK, initial_weights(NETWORK), preprocessing=PREPROCESSING, about=ABOUT)
    return path.read_bytes()


def header_and_theta(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["gpubp"]), file.get_tensor("theta")


def forge(path, header, tensors, *, digest=True):
    """Write a file as save_model does, with any header and tensors, and the checksum for them."""
    if digest:
        header.pop("sha256", None)
        header["sha256"] = json_header.checksum(header, next(iter(tensors.values())))
    path.write_bytes(safetensors.numpy.save(tensors, {"gpubp": json_header.canonical_json(header)}))


def refusal(path):
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


# --- round trips ---


def test_round_trip_of_all_parts(path, content):
    model = load_model(path)
    assert model.network == NETWORK
    np.testing.assert_array_equal(model.theta, initial_weights(NETWORK))
    assert model.theta.dtype == np.float32
    assert (model.preprocessing, model.about, model.version) == (PREPROCESSING, ABOUT, gpubp.__version__)


names = st.text(max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_round_trip_of_any_network(data, tmp_path_factory):
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    activations = st.sampled_from(["relu", "logistic", "elu(0.5)", "identity"])
    activation = data.draw(st.lists(activations, min_size=len(sizes) - 2, max_size=len(sizes) - 2))
    loss = data.draw(st.sampled_from(["squared", "huber(0.25)", "cross_entropy", "poisson"]))
    network = Network(tuple(sizes), activation=tuple(activation), loss=loss, bias=data.draw(st.booleans()))
    leading = data.draw(st.sampled_from([(), (1,), (3,)]))
    dtype = data.draw(st.sampled_from(["float32", "float64", ">f4", ">f8"]))
    finite = {"allow_nan": False, "allow_infinity": False, "width": 32}
    theta = data.draw(nps.arrays(dtype, (*leading, network.n_parameters), elements=st.floats(**finite)))
    about = data.draw(st.dictionaries(names, json_values, max_size=3))
    preprocessing = data.draw(st.none() | st.dictionaries(names, json_values, max_size=3))
    path = tmp_path_factory.mktemp("any") / "m"
    save_model(path, network, theta, preprocessing=preprocessing, about=about)
    model = load_model(path)
    assert (model.network, model.preprocessing, model.about) == (network, preprocessing, about)
    np.testing.assert_array_equal(model.theta, theta)
    assert model.theta.dtype.name == theta.dtype.name


def test_a_strided_view_is_written_in_its_own_order(path):
    both = np.arange(2.0 * NETWORK.n_parameters).reshape(-1, 2)
    save_model(path, NETWORK, both.T)
    np.testing.assert_array_equal(load_model(path).theta, both.T)


def test_parameters_of_another_library_are_read_as_numpy(path):
    device = array_api_strict.Device("device1")
    theta = array_api_strict.asarray(initial_weights(NETWORK), device=device)
    save_model(path, NETWORK, theta)
    np.testing.assert_array_equal(load_model(path).theta, initial_weights(NETWORK))


def test_equal_models_give_equal_bytes(path, content):
    same = {"none": None, **ABOUT}
    save_model(path, NETWORK, initial_weights(NETWORK), preprocessing=dict(PREPROCESSING), about=same)
    assert path.read_bytes() == content


def test_tuples_and_number_keys_are_read_as_json(path):
    save_model(path, NETWORK, initial_weights(NETWORK), about={10: (1, 2), 9: "x"})
    assert load_model(path).about == {"10": [1, 2], "9": "x"}


def test_a_model_predicts_the_same_after_the_file(path):
    theta, x = initial_weights(NETWORK), np.random.default_rng(0).normal(size=(5, 3))
    save_model(path, NETWORK, theta)
    model = load_model(path)
    expected = gpubp.predict(NETWORK, theta, x, device="cpu")
    np.testing.assert_array_equal(gpubp.predict(model.network, model.theta, x, device="cpu"), expected)


# --- broken files ---


def test_a_file_cut_at_any_length_is_refused(path, content):
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert "truncated" in refusal(path), length
    path.write_bytes(content + b"\0")
    assert "damaged" in refusal(path)


def test_any_changed_byte_is_detected(path, content):
    random = np.random.default_rng(0)
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << int(random.integers(8))
        path.write_bytes(changed)
        refusal(path)


def test_a_number_in_another_notation_is_detected(path):
    """The checksum is of the text as written, so even a harmless change is found."""
    save_model(path, NETWORK, initial_weights(NETWORK), about={"rate": 1e-05})
    assert path.read_bytes().count(b"1e-05") == 1
    path.write_bytes(path.read_bytes().replace(b"1e-05", b"1E-05"))
    assert "damaged header" in refusal(path)


def test_a_missing_file_a_folder_and_a_device_are_refused(tmp_path):
    assert "nothing does not exist; pass" in refusal(tmp_path / "nothing")
    (tmp_path / "customers.safetensors").touch()
    assert "customers.safetensors'?); pass" in refusal(tmp_path / "customer.safetensors")
    assert "folder" in refusal(tmp_path)
    if os.path.exists("/dev/null"):
        refusal("/dev/null")
    assert "cannot be read" in refusal(tmp_path / ("x" * 5000))


@pytest.mark.parametrize(
    "foreign",
    [b"", b"a,b\n1,2\n", pickle.dumps({"theta": 1}), struct.pack("<Q", 2**60) + b"{}", b"\x80\x04" * 500],
    ids=["empty", "csv", "pickle", "huge", "noise"],
)
def test_a_foreign_file_is_refused(path, foreign):
    path.write_bytes(foreign)
    assert "not a model file" in refusal(path)


def test_a_pickle_is_never_run(path, tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    path.write_bytes(pickle.dumps(Harmful()))
    refusal(path)
    assert not (tmp_path / "harm").exists()


def test_a_foreign_safetensors_file_is_refused(path):
    path.write_bytes(safetensors.numpy.save({"weight": np.zeros(3)}))
    assert "gpubp did not write it" in refusal(path)
    path.write_bytes(safetensors.numpy.save({"theta": np.zeros(3)}, {"gpubp": "[1]"}))
    assert "damaged header" in refusal(path)
    path.write_bytes(safetensors.numpy.save({"theta": np.zeros(3)}, {"gpubp": "[" * 100_000}))
    assert "damaged header" in refusal(path)


def test_a_newer_format_requires_an_upgrade(path, content):
    header, theta = header_and_theta(path)
    forge(path, header | {"format": FORMAT + 1, "version": "9.8", "something": "new"}, {"theta": theta, "state": theta})
    message = refusal(path)
    assert "9.8" in message
    assert "Upgrade gpubp" in message


LIES = {
    "sizes": ("network", {"sizes": [3, 5, 2]}, "do not fit"),
    "no sizes": ("network", {"sizes": []}, "does not describe a network"),
    "huge sizes": ("network", {"sizes": [10**30, 4, 2]}, "do not fit"),
    "size of text": ("network", {"sizes": ["3", 4, 2]}, "does not describe a network"),
    "unit": ("network", {"output_activation": "sofmax"}, "does not describe a network"),
    "unit of a list": ("network", {"activation": [["tanh"]]}, "does not describe a network"),
    "error": ("network", {"loss": "nothing"}, "does not describe a network"),
    "bias": ("network", {"bias": False}, "do not fit"),
    "type of bias": ("network", {"bias": "yes"}, "malformed topology"),
    "more keys": ("network", {"more": 1}, "malformed topology"),
    "shape": ("theta", {"shape": [2, 13]}, "does not match its contents"),
    "dtype": ("theta", {"dtype": "float64"}, "does not match its contents"),
    "about": (None, {"about": []}, "malformed header"),
    "preprocessing": (None, {"preprocessing": "x"}, "malformed header"),
    "format": (None, {"format": 0}, "does not match its contents"),
    "no version": (None, {"version": None}, "malformed header"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_false_header_is_refused(path, content, lie):
    part, change, expected = LIES[lie]
    header, theta = header_and_theta(path)
    (header[part] if part else header).update(change)
    forge(path, header, {"theta": theta})
    assert expected in refusal(path)


def test_a_forged_file_without_changes_is_read(path, content):
    header, theta = header_and_theta(path)
    forge(path, header, {"theta": theta})
    assert path.read_bytes() == content


@pytest.mark.parametrize("dtype", ["float16", "int32", "int64", "bool"])
def test_a_tensor_of_another_type_is_refused(path, content, dtype):
    header, theta = header_and_theta(path)
    theta = theta.astype(dtype)
    header["theta"]["dtype"] = dtype
    forge(path, header, {"theta": theta})
    assert "float32 or float64" in refusal(path)


def test_other_shapes_and_values_are_refused(path, content):
    header, theta = header_and_theta(path)
    for bad, expected in [
        (theta[:-1], "do not fit"),
        (theta.reshape(1, 1, -1), "do not fit"),
        (np.zeros((0, theta.size), np.float32), "do not fit"),
        (np.full_like(theta, np.nan), "not finite"),
    ]:
        header["theta"]["shape"] = list(bad.shape)
        forge(path, header, {"theta": bad})
        assert expected in refusal(path)
    forge(path, header, {"theta": theta, "more": theta})
    assert "one tensor" in refusal(path)


# --- writing ---


@pytest.mark.parametrize(
    ("theta", "expected"),
    [
        (np.zeros(3), r"\(26,\)"),
        (np.zeros((2, 2, 26)), r"\(26,\)"),
        (np.zeros(26, dtype=int), "float32 or float64"),
        (np.full(26, np.inf), "not finite"),
    ],
)
def test_parameters_that_cannot_be_read_are_not_written(path, theta, expected):
    with pytest.raises(DataError, match=expected):
        save_model(path, NETWORK, theta)
    assert not path.exists()


@pytest.mark.parametrize("about", [{"x": np.zeros(2)}, {"x": float("nan")}, {"x": {1, 2}}, {"x": object()}])
def test_only_plain_json_is_written(path, about):
    with pytest.raises(DataError, match="plain JSON"):
        save_model(path, NETWORK, initial_weights(NETWORK), about=about)
    assert not path.exists()


def test_a_failure_keeps_the_old_file_and_leaves_nothing_behind(path, content, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    for function in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(atomic_files.os, function, fail)
            with pytest.raises(OSError, match="No space left") as caught:
                save_model(path, NETWORK, initial_weights(NETWORK, seed=1))
            assert caught.value.filename == str(path)
        assert path.read_bytes() == content
        assert os.listdir(path.parent) == [path.name]


def test_an_interruption_leaves_nothing_behind(path, monkeypatch):
    monkeypatch.setattr(atomic_files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_model(path, NETWORK, initial_weights(NETWORK))
    assert os.listdir(path.parent) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_the_file_has_the_permissions_of_any_new_file(path, content):
    ordinary = path.with_name("ordinary")
    ordinary.write_bytes(b"")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_a_link_is_written_through(path, content, tmp_path):
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)
    save_model(link, NETWORK, initial_weights(NETWORK, seed=1))
    assert link.is_symlink()
    np.testing.assert_array_equal(load_model(path).theta, initial_weights(NETWORK, seed=1))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_folder_and_a_pipe_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(DataError, match="not a regular file"):
            save_model(path, NETWORK, initial_weights(NETWORK))
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        save_model(tmp_path / "nowhere" / "m.safetensors", NETWORK, initial_weights(NETWORK))
