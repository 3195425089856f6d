"""scikit-learn's multilayer perceptrons computed by gpubp, without a change in the script that uses them.

``python -m gpubp.accel script.py`` runs a script, ``%load_ext gpubp.accel`` is for notebooks, and :func:`install` for a
program of your own. The classes stay scikit-learn's; the private methods in which they compute are replaced.
"""

import sys
from typing import Any

from gpubp.accel._installed import install as install
from gpubp.accel._installed import report as report
from gpubp.accel._installed import uninstall as uninstall

__all__ = ["install", "report", "uninstall"]


def load_ipython_extension(ipython: Any) -> None:
    """Do ``%load_ext gpubp.accel``."""
    install()


def unload_ipython_extension(ipython: Any) -> None:
    """Do ``%unload_ext gpubp.accel``, which prints the report."""
    print(report(), file=sys.stderr)
    uninstall()
