"""The file of a checkpoint, read and written.

It is data, never code: a safetensors file with the arrays and one entry of metadata, ``gpubp_checkpoint``: a JSON
object with the format's number, gpubp's version, the settings of the training, the numbers of the training state, the
state of the generator that draws the orders, the arrays' shapes and types, and a SHA-256 over all of these and the
arrays' bytes. Writing is atomic: a file is complete or absent.
"""

from pathlib import Path
from typing import Any, NamedTuple

from gpubp._core.versions import newer_format
from gpubp._version import __version__
from gpubp.errors import CheckpointError
from gpubp.io.atomic_files import write_atomically
from gpubp.io.json_header import canonical_json, checksum, has_types, parse_canonical
from gpubp.io.safetensors import MalformedFile, read_tensors
from gpubp.training.run_settings import Settings
from gpubp.training.state_data import Arrays, Numbers

FORMAT = 1
"""The number of the format that this version writes, and the newest that it reads."""

_KEY = "gpubp_checkpoint"
_HEADER = {
    "format": int,
    "version": str,
    "settings": dict,
    "training_state": dict,
    "order": dict | None,
    "arrays": dict,
    "sha256": str,
}


class Checkpoint(NamedTuple):
    """The contents of a checkpoint."""

    path: Path
    settings: Settings
    numbers: Numbers
    order: dict[str, Any] | None
    arrays: Arrays


class DamagedCheckpoint(Exception):
    """A file is not a checkpoint, or is damaged; the message is appended to the file's name."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    DamagedCheckpoint
        If the file is not a checkpoint, or is damaged.
    CheckpointError
        If it is of a newer version of gpubp.
    """
    try:
        metadata, tensors = read_tensors(path)
    except MalformedFile as error:
        raise DamagedCheckpoint(f"is truncated or damaged ({error})") from error
    except (OSError, ValueError) as error:
        raise DamagedCheckpoint(f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    header, arrays = _header(metadata.get(_KEY)), {name: tensors[name] for name in sorted(tensors)}
    number = header.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise CheckpointError(f"{path} {newer_format(number, header.get('version'), FORMAT)}")
    if not has_types(header, _HEADER) or header["arrays"] != _describe_arrays(arrays):
        raise DamagedCheckpoint("has a header that does not match its contents")
    if header.pop("sha256") != checksum(header, *arrays.values()):
        raise DamagedCheckpoint("was changed after it was written: its checksum does not match")
    return Checkpoint(path, header["settings"], header["training_state"], header["order"], arrays)


def write_checkpoint(checkpoint: Checkpoint) -> None:
    """Write a checkpoint to its path."""
    import safetensors.numpy

    arrays = {
        name: array.astype(array.dtype.newbyteorder("<"), copy=False) for name, array in checkpoint.arrays.items()
    }
    header = {
        "format": FORMAT,
        "version": __version__,
        "settings": checkpoint.settings,
        "training_state": checkpoint.numbers,
        "order": checkpoint.order,
        "arrays": _describe_arrays(arrays),
    }
    header["sha256"] = checksum(header, *(arrays[name] for name in sorted(arrays)))
    write_atomically(checkpoint.path, safetensors.numpy.save(arrays, {_KEY: canonical_json(header)}))


def _header(text: str | None) -> dict[str, Any]:
    if text is None:
        raise DamagedCheckpoint("is a safetensors file, but not a checkpoint of gpubp")
    if (header := parse_canonical(text)) is None:
        raise DamagedCheckpoint("has a damaged header")
    return header


def _describe_arrays(arrays: Arrays) -> dict[str, Any]:
    return {name: {"shape": list(array.shape), "dtype": array.dtype.name} for name, array in sorted(arrays.items())}
