"""Call a function on a module, at once if it is imported, else as soon as it is."""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


class ImportHook(MetaPathFinder):
    """Calls a function on a module when it has been imported.

    Parameters
    ----------
    name : str
        The name of the module.
    act : callable
        Takes the module, and returns a function that takes back what it did.
    """

    def __init__(self, name: str, act: Callable[[ModuleType], Callable[[], None]]) -> None:
        self.name, self.act = name, act
        self.undo: Callable[[], None] | None = None
        if name in sys.modules:
            self.undo = act(sys.modules[name])
        else:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find the module as without this hook, with a loader that calls the function at the end."""
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_act(module: ModuleType) -> None:
                execute(module)
                self.undo = self.act(module)

            spec.loader.exec_module = execute_and_act  # type: ignore[method-assign]
        return spec

    def remove(self) -> None:
        """Take back what the function did, or wait for the module no longer."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        if self.undo is not None:
            self.undo()
