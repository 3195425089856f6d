"""Choice of the array library and the device, and transfer of arrays."""

import logging
import re
import sys
import types

import array_api_compat
import numpy as np
import pytest

from gpubp.backends import backend as backend_module
from gpubp.backends import probe
from gpubp.backends.backend import Backend, choose_backend, like, to_backend, to_numpy
from gpubp.backends.probe import Probe
from gpubp.backends.wrapped_namespace import plain_namespace
from gpubp.engine.prediction import predict
from gpubp.errors import DataError, DeviceError, GpubpError
from gpubp.nn.network import Network
from gpubp.training.fit import train

WORKS = Probe(True)
MISSING = Probe(False, "CuPy is not installed", 'pip install "cupy-cuda13x[ctk]"', expected=True)
BROKEN = Probe(False, "the NVIDIA driver is missing, or older than CuPy's CUDA", "sudo apt install nvidia-driver")


@pytest.fixture(autouse=True)
def _choose_again(monkeypatch):
    monkeypatch.delenv("GPUBP_DEVICE", raising=False)
    backend_module._best_backend.cache_clear()
    yield
    backend_module._best_backend.cache_clear()


@pytest.fixture
def gpu(monkeypatch):
    """Replace the probe's result, independently of this machine, and record its calls."""
    requested = []

    def answer(found):
        monkeypatch.setattr(probe, "probe_cuda", lambda index=0: requested.append(index) or found)
        return requested

    return answer


@pytest.fixture
def cupy(monkeypatch, gpu):
    """A fake CuPy that works: it has devices but no arrays."""

    class Device:
        current: list[int] = []  # noqa: RUF012 - shared on purpose

        def __init__(self, index):
            self.id = index

        def __enter__(self):
            self.current.append(self.id)

        def __exit__(self, *error):
            self.current.remove(self.id)

    fake = types.ModuleType("cupy")
    fake.ndarray = fake.generic = type("ndarray", (), {})  # used to find the library of an array
    fake.cuda = types.SimpleNamespace(Device=Device)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", types.ModuleType("array_api_compat.cupy"))
    gpu(WORKS)
    return fake


# --- by name ---


def test_cpu_is_numpy():
    chosen = choose_backend("cpu")
    assert array_api_compat.is_numpy_namespace(chosen.xp)
    assert chosen.name == "cpu"


def test_any_library_and_one_of_its_devices(device):
    chosen = choose_backend(device)
    array = to_backend(chosen, np.ones(2), "float32")
    assert chosen.name == ("cuda:0" if device == "cuda" else device)
    assert array_api_compat.device(array) == array_api_compat.device(chosen.xp.ones(1, device=chosen.device))
    assert device.partition(":")[2] in str(array_api_compat.device(array))


def test_a_library_without_a_device_has_its_own_choice():
    assert choose_backend("array_api_strict").name == "array_api_strict"


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", r"unknown device 'gpu' \(did you mean 'cuda'\?\); known: auto, cpu, cuda, torch"),
        ("CPU", r"unknown device 'CPU' \(did you mean 'cpu'\?\)"),
        ("jax", r"unknown device 'jax' \(did you mean 'jax.numpy'\?\)"),
        ("mps", r"unknown device 'mps' \(did you mean 'torch:mps'\?\)"),
        ("", "unknown device ''; known"),
        ("this", "unknown device 'this'; known"),
        ("array_api_strict:device9", "cannot be used .*device9.*To fix it: name a device that array_api_strict has"),
    ],
)
def test_an_unknown_device_lists_the_known_ones(device, message):
    with pytest.raises(DeviceError, match=message):
        choose_backend(device)


@pytest.mark.parametrize("device", ["cuda:x", "cuda:-1", "cuda:0:1", "cuda:1.5"])
def test_a_gpu_has_a_number(gpu, device):
    gpu(WORKS)
    with pytest.raises(DeviceError, match=r"expected 'cuda' or 'cuda:N'.*such as 'cuda:0'"):
        choose_backend(device)


@pytest.mark.parametrize("device", [None, 0, ("cuda", 0)])
def test_a_device_that_is_not_text(device):
    with pytest.raises(GpubpError, match=re.escape(repr(device))):
        choose_backend(device)


# --- cuda ---


@pytest.mark.parametrize("found", [MISSING, BROKEN])
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:2"])
def test_cuda_without_a_gpu_fails_with_cause_and_fix(gpu, found, device):
    gpu(found)
    with pytest.raises(DeviceError) as raised:
        choose_backend(device)
    for part in (device, found.cause, found.fix):
        assert part in str(raised.value)


def test_train_and_predict_fail_alike_without_a_gpu(gpu):
    gpu(MISSING)
    network, x, targets = Network((2, 1)), np.ones((3, 2)), np.ones((3, 1))
    with pytest.raises(DeviceError, match="CuPy is not installed"):
        train(network, x, targets, device="cuda")
    with pytest.raises(DeviceError, match="CuPy is not installed"):
        predict(network, np.ones(3), x, device="cuda")


@pytest.mark.parametrize(("device", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:3", 3)])
def test_cuda_with_a_gpu_is_cupy_on_that_gpu(cupy, device, index):
    chosen = choose_backend(device)
    assert chosen.xp is sys.modules["array_api_compat.cupy"]
    assert (chosen.device.id, chosen.name) == (index, f"cuda:{index}")
    with chosen.active():
        assert cupy.cuda.Device.current == [index]
    assert cupy.cuda.Device.current == []


def test_auto_chooses_a_gpu_that_works(cupy, caplog):
    caplog.set_level(logging.INFO, "gpubp")
    assert choose_backend("auto").name == "cuda:0"
    assert caplog.records == []


def test_auto_with_a_gpu_does_not_move_other_arrays(cupy):
    assert choose_backend("cpu").name == "cpu"
    assert choose_backend("array_api_strict:device1").name == "array_api_strict:device1"


# --- auto without a GPU ---


@pytest.mark.parametrize(("found", "level"), [(MISSING, logging.INFO), (BROKEN, logging.WARNING)])
def test_auto_falls_back_and_says_why_once(gpu, caplog, found, level):
    """A machine without a GPU causes an info message; a faulty GPU causes a warning with what mends it."""
    requested = gpu(found)
    caplog.set_level(logging.INFO, "gpubp")
    for _ in range(3):
        assert choose_backend("auto").name == "cpu"
        assert choose_backend("auto", np.ones(3), [1.0]).name == "cpu"
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == level
    assert found.cause in caplog.text
    assert (found.fix in caplog.text) == (level == logging.WARNING)
    assert requested == [0]


def test_auto_trains_on_the_cpu(gpu, caplog, monkeypatch):
    monkeypatch.setenv("GPUBP_COMPILED", "never")  # compiling would be another record
    gpu(MISSING)
    caplog.set_level(logging.INFO, "gpubp")
    for _ in range(2):
        result = train(Network((2, 1)), np.ones((3, 2)), np.ones((3, 1)), epochs=2)
        assert result.device == "cpu"
    assert len(caplog.records) == 1


def test_choosing_the_cpu_does_not_probe(gpu, caplog):
    requested = gpu(MISSING)
    caplog.set_level(logging.INFO, "gpubp")
    choose_backend("cpu")
    choose_backend("auto", choose_backend("array_api_strict:device1").xp.ones(3))
    assert requested == []
    assert caplog.records == []


# --- the environment variable ---


@pytest.mark.parametrize("value", ["array_api_strict:device1", " array_api_strict:device1 "])
def test_environment_variable_is_the_default(monkeypatch, value):
    monkeypatch.setenv("GPUBP_DEVICE", value)
    assert choose_backend("auto").name == "array_api_strict:device1"
    assert choose_backend("auto", np.ones(3), [1.0]).name == "array_api_strict:device1"
    result = train(Network((2, 1)), np.ones((3, 2)), np.ones((3, 1)), epochs=2)
    assert result.device == "array_api_strict:device1"
    assert type(result.theta) is np.ndarray


def test_an_option_and_the_arrays_take_precedence_over_the_environment(monkeypatch):
    monkeypatch.setenv("GPUBP_DEVICE", "array_api_strict:device1")
    other = choose_backend("array_api_strict:device2")
    assert choose_backend("cpu").name == "cpu"
    assert choose_backend("auto", to_backend(other, np.ones(3))).name == "array_api_strict:device2"


@pytest.mark.parametrize("value", ["", " ", "auto"])
def test_empty_environment_variable(monkeypatch, gpu, value):
    gpu(MISSING)
    monkeypatch.setenv("GPUBP_DEVICE", value)
    assert choose_backend("auto").name == "cpu"


def test_environment_names_an_unavailable_device(monkeypatch, gpu):
    gpu(BROKEN)
    monkeypatch.setenv("GPUBP_DEVICE", "cuda")
    with pytest.raises(DeviceError, match="nvidia-driver"):
        choose_backend("auto")


# --- the device of the arrays ---


def test_arrays_decide_for_themselves(monkeypatch, device):
    monkeypatch.setenv("GPUBP_DEVICE", "cpu")  # where NumPy arrays do not decide the device
    array = to_backend(choose_backend(device), np.ones(2), "float32")
    chosen = choose_backend("auto", np.ones(2), array, [1.0])
    assert chosen.name.startswith(device)  # the number is added to "cuda" and to a library without a device
    assert device == "cpu" or chosen.device == array_api_compat.device(array)
    assert plain_namespace(chosen.xp) is array_api_compat.array_namespace(array)


def test_arrays_of_two_devices_are_not_mixed_unless_one_is_named():
    one, two = (to_backend(choose_backend(f"array_api_strict:device{i}"), np.ones((3, 1))) for i in (1, 2))
    with pytest.raises(DataError, match=r"array_api_strict:device1 and on array_api_strict:device2; move them to one"):
        choose_backend("auto", one, two)
    network = Network((1, 1))
    for x, targets in ((one, two), (two, one)):
        with pytest.raises(DataError, match="move them to one device, or choose one with device="):
            train(network, x, targets, epochs=1)
        result = train(network, x, targets, epochs=1, device="array_api_strict:device1")
        assert result.device == "array_api_strict:device1"
        assert array_api_compat.device(result.theta) == array_api_compat.device(x)


def test_arrays_of_two_libraries_are_not_mixed():
    torch = pytest.importorskip("torch")
    with pytest.raises(DataError, match="torch:cpu"):
        choose_backend("auto", to_backend(choose_backend("array_api_strict"), np.ones(3)), torch.ones(3))


# --- transfers ---


@pytest.mark.parametrize("dtype", ["float32", "int64", "int32", "bool"])
def test_round_trip_of_arrays(device, dtype):
    chosen, host = choose_backend(device), (np.arange(6).reshape(2, 3) % 2).astype(dtype)
    on_device = to_backend(chosen, host)
    back = to_numpy(on_device)
    assert type(back) is np.ndarray
    assert back.dtype == host.dtype
    np.testing.assert_array_equal(back, host)


def test_an_array_on_the_device_is_not_copied(device):
    chosen = choose_backend(device)
    on_device = to_backend(chosen, np.ones(3, dtype="float32"))
    assert to_backend(chosen, on_device) is on_device
    assert to_backend(chosen, on_device, "float32") is on_device


def test_from_every_device_to_every_device(device, other_device):
    array = to_backend(choose_backend(device), np.asarray([[0.25, -3.0]], dtype="float32"))
    moved = to_backend(choose_backend(other_device), array, "float32")
    assert array_api_compat.array_namespace(moved) is plain_namespace(choose_backend(other_device).xp)
    np.testing.assert_array_equal(to_numpy(moved), [[0.25, -3.0]])
    home = like(moved, array)
    assert array_api_compat.array_namespace(home) is array_api_compat.array_namespace(array)
    assert array_api_compat.device(home) == array_api_compat.device(array)
    np.testing.assert_array_equal(to_numpy(home), [[0.25, -3.0]])


def test_type_changes_on_the_way(device):
    chosen = choose_backend(device)
    host = np.asarray([0, 1])
    for on_device in (to_backend(chosen, host, "float32"), to_backend(chosen, to_backend(chosen, host), "float32")):
        assert on_device.dtype == chosen.xp.float32
        np.testing.assert_array_equal(to_numpy(on_device), [0.0, 1.0])


def test_read_only_and_strided_arrays_are_moved(device):
    host = np.arange(12.0, dtype="float32").reshape(3, 4)
    host.flags.writeable = False
    chosen = choose_backend(device)
    np.testing.assert_array_equal(to_numpy(to_backend(chosen, host)), host)
    np.testing.assert_array_equal(to_numpy(to_backend(chosen, host[::2, ::-1])), host[::2, ::-1])


@pytest.mark.parametrize("plain", [[[1.0, 2.0]], ((1.0, 2.0),), 3.0])
def test_like_an_object_that_is_not_an_array_is_numpy(plain):
    array = to_backend(choose_backend("array_api_strict:device1"), np.ones(2))
    assert type(like(array, plain)) is np.ndarray
    assert type(to_backend(choose_backend("cpu"), plain)) is np.ndarray


def test_torch_records_no_gradient():
    """gpubp computes its own derivatives, even if a torch array requires a gradient."""
    theta = pytest.importorskip("torch").ones(3, requires_grad=True)
    assert not to_backend(choose_backend("torch:cpu"), theta).requires_grad


def test_the_host_is_not_copied():
    host = np.ones(3)
    assert to_backend(choose_backend("cpu"), host) is host
    assert to_numpy(host) is host


def test_active_lets_every_device_compute(device):
    chosen = choose_backend(device)
    with chosen.active():
        on_device = to_backend(chosen, np.ones(2, dtype="float32"))
        np.testing.assert_array_equal(to_numpy(on_device + on_device), [2.0, 2.0])
    assert Backend._fields == ("xp", "device", "name", "library", "matmul_precision")
