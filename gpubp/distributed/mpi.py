"""Processes started by an MPI launcher; they sum with MPI on the host and with NCCL on NVIDIA GPUs."""

import functools
import logging
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import array_api_compat
import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, choose_backend, to_numpy
from gpubp.backends.probe import cuda_of_cupy
from gpubp.distributed import monitor
from gpubp.distributed.heartbeat import SECONDS_TO_READ, Heartbeat, connect_all
from gpubp.distributed.process_group import ProcessGroup
from gpubp.errors import DataError, DeviceError, GpubpError

logger = logging.getLogger("gpubp")

T = TypeVar("T")


@functools.cache
def mpi_process_group() -> "MPIProcessGroup":
    """Join the processes of ``MPI.COMM_WORLD``; all of them must call this.

    From now on an uncaught exception in one process ends all of them, since the others would wait for it forever.
    """
    from mpi4py import MPI

    comm = MPI.COMM_WORLD.Dup()  # separate from the user's own messages

    def add(array: np.ndarray) -> None:
        comm.Allreduce(MPI.IN_PLACE, array, op=MPI.SUM)

    processes = MPIProcessGroup(comm, MPI.Get_processor_name(), add)
    if processes.world_size > 1:
        hook = sys.excepthook

        def report_and_abort(*fault: Any) -> None:
            hook(*fault)
            time.sleep(SECONDS_TO_READ)  # so that the launcher can read the message
            comm.Abort(1)

        sys.excepthook = report_and_abort
    return processes


class MPIProcessGroup(ProcessGroup):
    """The processes of an mpi4py communicator.

    Host arrays are summed by MPI, which gives all processes the same bits. Arrays on a GPU are summed by NCCL, from GPU
    to GPU, if CuPy has it; others are copied to the host and back.

    Parameters
    ----------
    comm : communicator
    host : str
        The name of this machine.
    add : callable
        Sums NumPy arrays over the communicator, in place.
    """

    def __init__(self, comm: Any, host: str, add: Callable[[np.ndarray], None]) -> None:
        self.comm, self.add, self.rank, self.world_size = comm, add, comm.Get_rank(), comm.Get_size()
        self.hosts: list[str] = comm.allgather(host)
        self.local_rank = self.hosts[: self.rank].count(self.hosts[self.rank])
        self._nccl: list[Any] = []  # set once it is open or known to be unavailable
        self._heartbeat: Heartbeat | None = None
        self._shared_fault: BaseException | None = None

    def all_reduce(self, array: Array) -> Array:
        """Sum arrays in one all-reduce, in place if possible."""
        if type(array) is np.ndarray:
            self.add(array)
            return array
        if array_api_compat.is_cupy_array(array) and (nccl := self._with_nccl()) is not None:
            nccl.all_reduce(array, array)
            return array
        total = self.all_reduce(np.array(to_numpy(array)))
        xp = array_api_compat.array_namespace(array)
        return xp.asarray(total, device=array_api_compat.device(array))

    def sums_on_gpus(self) -> bool:
        """Return whether there is NCCL."""
        return self._with_nccl() is not None

    def _with_nccl(self) -> Any:
        """Return the NCCL communicator of the current GPU, opened on first use; None if a process has no NCCL."""
        if not self._nccl:
            self._nccl.append(self._open_nccl())
        return self._nccl[0]

    def _open_nccl(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without NCCL CuPy warns too
            from cupy.cuda import nccl

        if not all(self.comm.allgather(bool(nccl.available))):
            logger.warning(
                "gradients go through the host, because CuPy finds no NCCL, or an old one. To fix it: "
                "pip install -U nvidia-nccl-%s",
                cuda_of_cupy().replace("cuda", "cu"),
            )
            return None
        from cupyx.distributed import NCCLBackend

        return NCCLBackend(self.world_size, self.rank, use_mpi=True)

    def on_all(self, fact: bool) -> bool:
        """Exchange whether a fact is true."""
        return all(self.comm.allgather(fact))

    def on_rank_0(self, work: Callable[[], T]) -> T:
        """Run ``work`` in process 0 and send the result to all processes by pickle."""
        result: Any = work() if self.rank == 0 else None
        sent: T = self.comm.bcast(result)
        return result if self.rank == 0 else sent

    @contextmanager
    def raise_on_all(self) -> Iterator[None]:
        """Exchange exceptions, and raise the first of them in all processes."""
        fault: Exception | None = None
        try:
            yield
        except Exception as error:
            fault = error
        faults = self.comm.allgather(fault and f"{type(fault).__name__}: {fault}")
        for rank, message in enumerate(faults):
            if message is not None:
                self._shared_fault = fault or DataError(f"{self.process_name(rank)} failed: {message}")
                raise self._shared_fault

    def check_equal(self, facts: Mapping[str, Any]) -> None:
        """Compare facts as text, those of process 0 with those of each other process."""
        texts = {name: str(fact) for name, fact in facts.items()}
        texts_of_first = self.on_rank_0(lambda: texts)
        with self.raise_on_all():
            for name, fact in texts.items():
                if texts_of_first[name] != fact:
                    raise DataError(
                        f"all processes must train the same, but {name} is {texts_of_first[name]:.200} in process 0 "
                        f"and {fact:.200} in process {self.rank}"
                    )

    @contextmanager
    def monitored(self, fix: str = "") -> Iterator[None]:
        """Connect to a monitor; an exception that is not raised in all processes ends all by ``MPI_Abort``."""
        if self.world_size == 1 or self._heartbeat is not None:  # nested
            yield
            return
        self._heartbeat = Heartbeat(self.rank, self.hosts, connect_all(self.comm, self.hosts, fix), fix)
        try:
            yield
        except BaseException as error:
            if error is not self._shared_fault:
                self._end_all(error)
            raise
        finally:
            self.comm.Barrier()  # no process disconnects while another may still fail
            self._heartbeat.close()
            self._heartbeat = self._shared_fault = None

    def _end_all(self, error: BaseException) -> None:
        assert self._heartbeat is not None
        if isinstance(error, KeyboardInterrupt):
            self._heartbeat.thread.join(10 * SECONDS_TO_READ)  # it received the signal too, and ends the process
        elif not isinstance(error, GpubpError):
            traceback.print_exception(error)
        cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        self._heartbeat.report(f"{self.process_name(self.rank)} failed: {cause}")
        time.sleep(SECONDS_TO_READ)  # so that the launcher can read the message
        self.comm.Abort(1)

    def process_name(self, rank: int) -> str:
        """Name a process for messages."""
        return monitor.process_name(rank, self.hosts)

    def assign_gpu(self, backend: Backend, device: str) -> Backend:
        """Give each process of a machine the next GPU.

        Raises
        ------
        DeviceError
            In all processes, if two of them have the same GPU, or only some have one.
        """
        with self.raise_on_all():
            if backend.is_cuda and ":" not in device:  # a device with a number is the caller's choice
                backend = choose_backend(f"{backend.library.name}:{self.local_rank % _gpus()}")
            gpu = f"{self.hosts[self.rank]} {_unique_name(backend)}" if backend.is_cuda else None
        self._check_devices(self.comm.allgather(("GPU" if backend.is_cuda else backend.name, gpu)))
        return backend

    def _check_devices(self, devices: list[tuple[str, str | None]]) -> None:
        """Raise if processes use different kinds of device, or two processes the same GPU."""
        kind = devices[0][0]
        with self.raise_on_all():
            for rank, device in enumerate(devices):
                if device[0] != kind:
                    raise DeviceError(
                        f"{self.process_name(0)} computes on {kind} and {self.process_name(rank)} on {device[0]}. "
                        "To fix it: pass a device= that all of them have"
                    )
                if device[1] is not None and (other := devices.index(device)) < rank:
                    raise DeviceError(
                        f"{self.process_name(other)} and {self.process_name(rank)} have the same GPU, which "
                        "NCCL does not support. To fix it: start at most one process for each GPU of a machine, and "
                        "use device='cuda' without a number"
                    )


def _gpus() -> int:
    import cupy

    return int(cupy.cuda.runtime.getDeviceCount())


def _unique_name(backend: Backend) -> str:
    """Return an identifier that is unique among the GPUs of the machine."""
    import cupy

    return str(cupy.cuda.runtime.getDeviceProperties(backend.device.id)["uuid"])
