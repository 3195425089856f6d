"""Who starts several processes, and whether they are to train together."""

import logging
import os

from gpubp._core.names import unknown
from gpubp.distributed.mpi import mpi_process_group
from gpubp.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from gpubp.errors import DataError

logger = logging.getLogger("gpubp")

LAUNCHERS = (("PMI_RANK", "PMI_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"))
"""What launchers of MPI tell each process by its environment: MPICH and those like it, Open MPI."""


def launched() -> tuple[int, int]:
    """Tell which process of how many this is, as far as a launcher of MPI says so: (0, 1) without one."""
    for rank, size in LAUNCHERS:
        if os.environ.get(rank, "").isdecimal() and os.environ.get(size, "").isdecimal():
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1


def process_group_for(parallel: str | ProcessGroup | None) -> ProcessGroup:
    """Find the processes that train together: this one alone for None, all that MPI has started for "mpi".

    Raises
    ------
    DataError
        If there is no such choice, or MPI cannot be used.
    """
    if isinstance(parallel, ProcessGroup):
        return parallel
    if parallel is None:
        _warn_of_copies()
        return SINGLE_PROCESS
    if parallel != "mpi":
        raise DataError(f"{unknown('parallel', str(parallel), ('mpi',))}; None trains in this process alone")
    try:
        processes = mpi_process_group()
    except (ImportError, RuntimeError) as error:  # mpi4py raises either where it finds no library of MPI
        raise DataError(
            f"parallel='mpi' needs mpi4py and a library of MPI ({error}). To fix it: pip install \"gpubp[mpi]\" and, "
            "where the system has no MPI, pip install mpich"
        ) from error
    _, size = launched()
    if processes.world_size == 1 < size:
        raise DataError(
            f"a launcher has started {size} processes, but mpi4py sees one alone: they are of different "
            "implementations of MPI. To fix it: start them with the mpiexec that belongs to the library in `python -c "
            '"from mpi4py import MPI; print(MPI.Get_library_version())"`'
        )
    return processes


def _warn_of_copies() -> None:
    """Say so, once, where a launcher has started several processes that train alone."""
    rank, size = launched()
    if size > 1 and rank == 0 and not _warned:
        _warned.append(True)
        logger.warning(
            "mpiexec has started %d processes, and each trains alone; with parallel='mpi' they train one network",
            size,
        )


_warned: list[bool] = []
