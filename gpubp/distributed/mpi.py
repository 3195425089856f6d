"""Processes that a launcher of MPI has started: sums by MPI on the host, by NCCL on NVIDIA GPUs."""

import functools
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import array_api_compat
import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, choose_backend, to_numpy
from gpubp.distributed import monitor
from gpubp.distributed.heartbeat import PAUSE, Heartbeat, connected
from gpubp.distributed.process_group import ProcessGroup
from gpubp.errors import DataError, DeviceError, GpubpError

logger = logging.getLogger("gpubp")

T = TypeVar("T")


@functools.cache
def mpi_process_group() -> "MPIProcessGroup":
    """Join the processes of ``MPI.COMM_WORLD``; all of them must.

    From now on an exception that nobody catches ends all of them: they would wait for this one for ever.
    """
    from mpi4py import MPI

    comm = MPI.COMM_WORLD.Dup()  # what a user's program sends is apart from what is sent here

    def add(array: np.ndarray) -> None:
        comm.Allreduce(MPI.IN_PLACE, array, op=MPI.SUM)

    processes = MPIProcessGroup(comm, MPI.Get_processor_name(), add)
    if processes.world_size > 1:
        told = sys.excepthook

        def told_and_ended(*fault: Any) -> None:
            told(*fault)
            time.sleep(PAUSE)  # for the launcher to read it
            comm.Abort(1)

        sys.excepthook = told_and_ended
    return processes


class MPIProcessGroup(ProcessGroup):
    """The processes of a communicator of mpi4py.

    On the host the sum is MPI's own, which gives all processes the same bits. Arrays on a GPU are summed by NCCL, from
    GPU to GPU, where CuPy has it; others go to the host and back.

    Parameters
    ----------
    comm : communicator
    host : str
        The name of this machine.
    add : callable
        Sums arrays of NumPy over the communicator, in place.
    """

    def __init__(self, comm: Any, host: str, add: Callable[[np.ndarray], None]) -> None:
        self.comm, self.add, self.rank, self.world_size = comm, add, comm.Get_rank(), comm.Get_size()
        self.hosts: list[str] = comm.allgather(host)
        self.local_rank = self.hosts[: self.rank].count(self.hosts[self.rank])
        self._nccl: list[Any] = []  # once it is open, or known not to be there
        self._line: Heartbeat | None = None
        self._shared_fault: BaseException | None = None

    def all_reduce(self, array: Array) -> Array:
        """Sum arrays by one all-reduce, in place where that can be."""
        if type(array) is np.ndarray:
            self.add(array)
            return array
        if array_api_compat.is_cupy_array(array) and (nccl := self._with_nccl()) is not None:
            nccl.all_reduce(array, array)
            return array
        total = self.all_reduce(np.array(to_numpy(array)))
        xp = array_api_compat.array_namespace(array)
        return xp.asarray(total, device=array_api_compat.device(array))

    def _with_nccl(self) -> Any:
        """Open a communicator of NCCL on the current GPU, or find the open one; None where a process has no NCCL."""
        if not self._nccl:
            self._nccl.append(self._open_nccl())
        return self._nccl[0]

    def _open_nccl(self) -> Any:
        from cupy.cuda import nccl

        if not all(self.comm.allgather(bool(nccl.available))):
            logger.warning(
                "gradients go through the host, since CuPy finds no NCCL; python -m cupyx.tools.install_library "
                "--library nccl --cuda 12.x fixes it"
            )
            return None
        from cupyx.distributed import NCCLBackend

        return NCCLBackend(self.world_size, self.rank, use_mpi=True)

    def on_rank_0(self, work: Callable[[], T]) -> T:
        """Let the first process work, and send what it finds to all by pickle."""
        found: Any = work() if self.rank == 0 else None
        sent: T = self.comm.bcast(found)
        return found if self.rank == 0 else sent

    @contextmanager
    def raise_on_all(self) -> Iterator[None]:
        """Gather what went wrong in each process before any goes on."""
        fault: Exception | None = None
        try:
            yield
        except Exception as error:
            fault = error
        faults = self.comm.allgather(fault and f"{type(fault).__name__}: {fault}")
        for rank, words in enumerate(faults):
            if words is not None:
                self._shared_fault = fault or DataError(f"{self.named(rank)} failed: {words}")
                raise self._shared_fault

    def check_equal(self, facts: Mapping[str, Any]) -> None:
        """Compare facts in words, those of the first process with those of each other one."""
        words = {name: str(fact) for name, fact in facts.items()}
        of_first = self.on_rank_0(lambda: words)
        with self.raise_on_all():
            for name, fact in words.items():
                if of_first[name] != fact:
                    raise DataError(
                        f"all processes must train the same, but of {name} process 0 has {of_first[name]:.200} and "
                        f"process {self.rank} has {fact:.200}"
                    )

    @contextmanager
    def monitored(self, fix: str = "") -> Iterator[None]:
        """Hold lines to a watcher; an exception that is not in all of them ends all by ``MPI_Abort``."""
        if self.world_size == 1 or self._line is not None:  # one within another
            yield
            return
        self._line = Heartbeat(self.rank, self.hosts, connected(self.comm, self.hosts, fix), fix)
        try:
            yield
        except BaseException as error:
            if error is not self._shared_fault:
                self._end_all(error)
            raise
        finally:
            self.comm.Barrier()  # nobody takes leave while another may still fail
            self._line.close()
            self._line = self._shared_fault = None

    def _end_all(self, error: BaseException) -> None:
        assert self._line is not None
        if isinstance(error, KeyboardInterrupt):
            self._line.thread.join(10 * PAUSE)  # which has had the signal, too, and ends the process
        elif not isinstance(error, GpubpError):
            traceback.print_exception(error)
        cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        self._line.tell(f"{self.named(self.rank)} failed: {cause}")
        time.sleep(PAUSE)  # for the launcher to read it
        self.comm.Abort(1)

    def named(self, rank: int) -> str:
        """Name a process for people."""
        return monitor.named(rank, self.hosts)

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
        """Refuse processes on different kinds of device, and two processes on one GPU."""
        kind = devices[0][0]
        with self.raise_on_all():
            for rank, device in enumerate(devices):
                if device[0] != kind:
                    raise DeviceError(
                        f"{self.named(0)} computes on {kind} and {self.named(rank)} on {device[0]}. To fix it: give "
                        "device= a kind of device that all of them have"
                    )
                if device[1] is not None and (other := devices.index(device)) < rank:
                    raise DeviceError(
                        f"{self.named(other)} and {self.named(rank)} have the same GPU, which NCCL refuses. To fix it: "
                        "start no more processes on a machine than it has GPUs, and use device='cuda' without a number"
                    )


def _gpus() -> int:
    import cupy

    return int(cupy.cuda.runtime.getDeviceCount())


def _unique_name(backend: Backend) -> str:
    """Name a GPU so that no other of its machine is called the same."""
    import cupy

    return str(cupy.cuda.runtime.getDeviceProperties(backend.device.id)["uuid"])
