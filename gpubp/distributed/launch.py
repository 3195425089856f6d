"""Detect processes started by an MPI launcher, and choose the process group that trains."""

import logging
import os

from gpubp._core.names import unknown
from gpubp.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from gpubp.errors import DataError

logger = logging.getLogger("gpubp")

LAUNCHERS = (("PMI_RANK", "PMI_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"))
"""Environment variables with rank and size: of MPICH and its derivatives, and of Open MPI."""


def launched() -> tuple[int, int]:
    """Return the rank and size that an MPI launcher has set; (0, 1) without a launcher."""
    for rank, size in LAUNCHERS:
        if os.environ.get(rank, "").isdecimal() and os.environ.get(size, "").isdecimal():
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1


def process_group_for(parallel: str | ProcessGroup | None) -> ProcessGroup:
    """Return the processes that train together: only this one for None, all of MPI's for "mpi".

    Raises
    ------
    DataError
        If ``parallel`` is unknown, or MPI cannot be used.
    """
    if isinstance(parallel, ProcessGroup):
        return parallel
    if parallel is None:
        _warn_of_copies()
        return SINGLE_PROCESS
    if parallel != "mpi":
        raise DataError(f"{unknown('parallel', str(parallel), ('mpi',))}; None trains in this process only")
    from gpubp.distributed.mpi import mpi_process_group

    try:
        processes = mpi_process_group()
    except (ImportError, RuntimeError) as error:  # mpi4py raises one of these if it finds no MPI library
        raise DataError(
            f"parallel='mpi' needs mpi4py and an MPI library ({error}). To fix it: pip install mpi4py and, "
            "if the system has no MPI, pip install mpich"
        ) from error
    _, size = launched()
    if processes.world_size == 1 < size:
        raise DataError(
            f"a launcher has started {size} processes, but mpi4py sees only one: they belong to different "
            "MPI implementations. To fix it: start them with the mpiexec that belongs to the library in `python -c "
            '"from mpi4py import MPI; print(MPI.Get_library_version())"`'
        )
    return processes


def _warn_of_copies() -> None:
    """Warn once if a launcher has started several processes and each trains separately."""
    rank, size = launched()
    if size > 1 and rank == 0 and not _warned:
        _warned.append(True)
        logger.warning(
            "mpiexec has started %d processes, and each trains separately; with parallel='mpi' they train one network",
            size,
        )


_warned: list[bool] = []
