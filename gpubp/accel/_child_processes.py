"""Settings for the Python processes that an accelerated one starts, such as joblib's workers.

They are in the environment. So is a folder on ``PYTHONPATH`` with a ``sitecustomize.py``, which Python runs at the
start of each process, and which installs by these settings.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple, Self

_VARIABLE = "GPUBP_ACCEL"
_FOLDER = str(Path(__file__).parent / "startup")


class Settings(NamedTuple):
    """The device, whether to compare with scikit-learn, and the folder for the records of child processes."""

    device: str
    compare: bool
    folder: str

    @classmethod
    def left(cls) -> Self | None:
        """Return the settings that a parent process left, if any."""
        text = os.environ.get(_VARIABLE)
        return None if text is None else cls(*json.loads(text))


def leave_settings(settings: Settings) -> None:
    """Leave the settings to processes that this one starts."""
    os.environ[_VARIABLE] = json.dumps(settings)
    os.environ["PYTHONPATH"] = os.pathsep.join([_FOLDER, *_other_paths()])


def remove_settings() -> None:
    """Leave nothing to processes that this one starts."""
    os.environ.pop(_VARIABLE, None)
    if _FOLDER in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        if others := _other_paths():
            os.environ["PYTHONPATH"] = os.pathsep.join(others)
        else:
            del os.environ["PYTHONPATH"]


def _other_paths() -> list[str]:
    paths = os.environ.get("PYTHONPATH", "")
    return [path for path in paths.split(os.pathsep) if path != _FOLDER] if paths else []
