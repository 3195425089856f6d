"""What was computed by gpubp and what by scikit-learn, in this process and in those that it started."""

import atexit
import json
import os
import shutil
import tempfile
import threading
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

_lock = threading.Lock()  # fits may run in threads


class Computation(NamedTuple):
    """A kind of computation.

    Attributes
    ----------
    model : str
        The name of the estimator's class.
    method : str
        "fit", "partial_fit" or "predict".
    device : str
        The device on which gpubp did it; "" if scikit-learn did it.
    reason : str
        Why scikit-learn did it.
    """

    model: str
    method: str
    device: str = ""
    reason: str = ""


@dataclass
class Totals:
    """Calls and seconds of one kind of computation; those of scikit-learn where it did the same to compare."""

    calls: int = 0
    seconds: float = 0.0
    compared: int = 0
    compared_seconds: float = 0.0
    scikit_learn_seconds: float = 0.0
    elsewhere: int = 0

    def add(self, other: "Totals") -> None:
        """Add other totals to these."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class ComputationRecord:
    """A record that grows with each computation.

    Attributes
    ----------
    totals : dict
        Those of this process.
    folder : str
        Other processes write theirs there, each a file of its own with a line of JSON for each computation.
    process : int
        The process that keeps totals, by its number: one that is forked from it writes lines.
    """

    totals: dict[Computation, Totals] = field(default_factory=lambda: defaultdict(Totals))
    folder: str = ""
    process: int = 0

    @classmethod
    def of_a_main_process(cls) -> Self:
        """Start a record, with a folder that is removed at the end of the process."""
        record = cls(folder=tempfile.mkdtemp(prefix="gpubp-accel-"), process=os.getpid())
        atexit.register(record.remove_folder)
        return record

    @classmethod
    def of_a_child_process(cls, folder: str) -> Self:
        """Start a record that is written to the folder of the main process."""
        return cls(folder=folder)

    def add(self, computation: Computation, totals: Totals) -> None:
        """Add to the totals of a computation."""
        if os.getpid() == self.process:
            with _lock:
                self.totals[computation].add(totals)
            return
        line = json.dumps([computation, asdict(totals)])
        try:
            with open(Path(self.folder) / f"{os.getpid()}.jsonl", "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError:  # the main process has ended
            pass

    def collect(self) -> dict[Computation, Totals]:
        """Return the totals of all processes."""
        found: dict[Computation, Totals] = defaultdict(Totals)
        for computation, totals in self.totals.items():
            found[computation].add(totals)
        for path in sorted(Path(self.folder).glob("*.jsonl")) if self.folder else []:
            for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
                written, totals_of_one = json.loads(line)
                totals = found[Computation(*written)]
                totals.add(Totals(**totals_of_one))
                totals.elsewhere += totals_of_one["calls"]
        return dict(found)

    def remove_folder(self) -> None:
        """Remove the folder, if this is the process that made it."""
        if os.getpid() == self.process:
            shutil.rmtree(self.folder, ignore_errors=True)
