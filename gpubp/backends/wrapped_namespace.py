"""Array namespaces in which one function is replaced."""

from typing import Any

from gpubp._typing import Namespace


class WrappedNamespace:
    """An array namespace that replaces some functions of the namespace ``plain``."""

    def __init__(self, plain: Namespace) -> None:
        self.plain = plain

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of the wrapped namespace, and keep it, as a step looks up many."""
        if name == "plain":  # which a copy does not have yet
            raise AttributeError(name)
        found = getattr(self.plain, name)
        setattr(self, name, found)
        return found


def plain_namespace(xp: Namespace) -> Namespace:
    """Return the namespace inside all wrappers, or ``xp`` itself if it is not wrapped."""
    while isinstance(xp, WrappedNamespace):
        xp = xp.plain
    return xp
