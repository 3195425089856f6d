"""Captures of streams refuse what CUDA refuses; graphs run what was captured."""

import cupy
import numpy as np
import pytest
from cupy.cuda import runtime


@pytest.fixture
def x():
    return cupy.zeros(4, "float32")


@pytest.fixture
def add():
    """A kernel that adds one array to another, already compiled."""
    kernel = cupy.ElementwiseKernel("float32 y", "float32 x", "x += y", "add_to")
    kernel(cupy.zeros(4, "float32"), cupy.zeros(4, "float32"))
    return kernel


HOST = np.ones(4, "float32")
REFUSED = {
    "a wait for the stream": lambda stream, x: stream.synchronize(),
    "a wait for the device": lambda stream, x: cupy.cuda.Device().synchronize(),
    "a download": lambda stream, x: runtime.memcpyAsync(HOST.ctypes.data, x.data.ptr, 16, DEFAULT, stream.ptr),
    "an upload": lambda stream, x: runtime.memcpyAsync(x.data.ptr, HOST.ctypes.data, 16, DEFAULT, stream.ptr),
}
DEFAULT = runtime.memcpyDefault
REFUSED_BY_CUPY = {
    "a download": lambda x: x.get(),
    "an upload": lambda x: x.set(HOST),
    "a truth value": lambda x: bool(x[0] > 0),
    "indexing by a mask": lambda x: x[x > 0],
    "a product": lambda x: cupy.matmul(x[:, None], x[None, :]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_is_refused(what, stream, x):
    stream.begin_capture()
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorStreamCaptureUnsupported"):
        REFUSED[what](stream, x)
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        stream.end_capture()


def test_a_question_whether_the_stream_is_done_ends_the_capture(stream):
    stream.begin_capture()
    assert not stream.done
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        stream.end_capture()


@pytest.mark.parametrize("what", REFUSED_BY_CUPY)
def test_is_refused_by_cupy(what, stream, x):
    REFUSED_BY_CUPY[what](x)  # with kernels compiled before
    stream.begin_capture()
    with pytest.raises((RuntimeError, NotImplementedError), match="captur"):
        REFUSED_BY_CUPY[what](x)
    stream.end_capture()


def test_nothing_runs_before_the_launch(stream, x, add):
    one = cupy.ones(4, "float32")
    stream.begin_capture()
    add(one, x)
    add(one, x)
    graph = stream.end_capture()
    assert (x.get() == 0).all()
    for launches in (1, 2, 3):
        graph.launch(stream)
        assert (x.get() == 2 * launches).all()


def test_events_of_a_capture_are_not_waited_for_outside(stream, x, add):
    stream.begin_capture()
    add(x, x)
    event = stream.record()
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorCapturedEvent"):
        event.synchronize()
    stream.end_capture()


def test_work_outside_is_not_waited_for(stream, x, add):
    other = cupy.cuda.Stream(non_blocking=True)
    with other:
        add(x, x)
        event = other.record()
    stream.begin_capture()
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorStreamCaptureIsolation"):
        stream.wait_event(event)
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        stream.end_capture()


@pytest.mark.parametrize("waits", [False, True])
def test_branches_run_in_another_order_unless_one_waits(waits, stream, x, add):
    """The second stream of a capture adds what the first one has computed."""
    y, one, branch = cupy.zeros(4, "float32"), cupy.ones(4, "float32"), cupy.cuda.Stream(non_blocking=True)
    stream.begin_capture()
    begin = stream.record()
    add(one, x)
    branch.wait_event(stream.record() if waits else begin)
    with branch:
        add(x, y)
    stream.wait_event(branch.record())
    graph = stream.end_capture()
    graph.launch(stream)
    assert (y.get() == waits).all()


def test_a_branch_that_is_not_joined(stream, x, add):
    branch = cupy.cuda.Stream(non_blocking=True)
    stream.begin_capture()
    branch.wait_event(stream.record())
    with branch:
        add(x, x)
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorStreamCaptureUnjoined"):
        stream.end_capture()


def test_the_default_stream_beside_a_blocking_one(x, add):
    stream = cupy.cuda.Stream()
    with stream:
        stream.begin_capture()
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="cudaErrorStreamCaptureImplicit"):
        add(x, x)
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        stream.end_capture()


def test_the_default_stream_cannot_be_captured():
    with pytest.raises(Exception, match="capture"):
        cupy.cuda.Stream.null.begin_capture()
