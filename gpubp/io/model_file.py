"""Model files: one safetensors file with the parameters and a JSON header; written whole or not at all, never a pickle.

The file holds one tensor, ``theta``, and one entry of metadata, ``gpubp``: a JSON object with the format's number,
gpubp's version, the topology, the tensor's type and shape, the preprocessing, whatever is to be known about the model,
and a SHA-256 over all of these and the tensor's bytes. Equal models give equal files, byte for byte.
"""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gpubp._core.masked_arrays import refuse_masked
from gpubp._core.text import brief, plain
from gpubp._typing import Array
from gpubp._version import __version__
from gpubp.backends.backend import to_numpy
from gpubp.errors import DataError, ModelFileError
from gpubp.io.safetensors import NotWhole, most_text, read_tensors
from gpubp.nn.network import Network

FORMAT = 2
"""The newest format that this version reads; format 1 lacks ties and skips, and is written for networks without."""

MOST_LEVELS = 64
"""How deep lists and objects may stand in each other in what a file says about its model."""


def format_of(network: Network) -> int:
    """Give the number of the format that a network is written in."""
    return 2 if network.skips or network.ties else 1


_TYPES = ("float32", "float64")
_HEADER = {
    "format": int,
    "version": str,
    "network": dict,
    "theta": dict,
    "preprocessing": dict | None,
    "about": dict,
    "sha256": str,
}
_TOPOLOGY = {"sizes": list, "activation": list, "output_activation": str, "loss": str, "bias": bool}
_WIRING = {"skips": list, "ties": list | None}


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network with what is needed to use it.

    Attributes
    ----------
    network : Network
    theta : (P,) or (K, P) array of NumPy
        float32 or float64.
    preprocessing : dict, optional
        How a table becomes the network's inputs, as JSON (see :mod:`gpubp.data.preprocessing`).
    about : dict
        What is to be known about the model, as JSON: task, scores, settings, ...
    version : str
        The gpubp that wrote it.
    """

    network: Network
    theta: np.ndarray
    preprocessing: dict[str, Any] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    version: str = __version__

    def __repr__(self) -> str:
        sizes = "-".join(map(str, self.network.sizes))
        return f"Model({sizes}, theta {self.theta.shape} {self.theta.dtype}, from gpubp {brief(self.version, 40)})"


def save_model(
    path: str | PathLike[str],
    network: Network,
    theta: Array,
    *,
    preprocessing: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write a model file; an existing one is replaced only once the new one is complete.

    Parameters
    ----------
    path : str or path
        By custom it ends in ``.safetensors``.
    network : Network
    theta : (P,) or (K, P) array
        float32 or float64, of any namespace and device.
    preprocessing, about : mapping, optional
        Plain JSON to keep with the network.

    Raises
    ------
    DataError
        If ``theta`` does not fit the network or is not finite, or the mappings are not plain JSON, or longer or deeper
        than :func:`load_model` reads.
    OSError
        If the file cannot be written; nothing is left behind.

    Examples
    --------
    >>> import tempfile, os
    >>> from gpubp import Network, load_model, save_model
    >>> from gpubp.nn.initialization import initial_weights
    >>> network = Network((2, 3, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.safetensors")
    ...     save_model(path, network, initial_weights(network), about={"task": "none"})
    ...     model = load_model(path)
    >>> model.network == network, model.theta.shape, model.about
    (True, (13,), {'task': 'none'})
    """
    import safetensors.numpy

    refuse_masked("theta", theta)
    host = np.ascontiguousarray(to_numpy(theta))
    if fault := _fault(network, host):
        raise DataError(f"theta {fault}")
    host = host.astype(host.dtype.newbyteorder("<"), copy=False)
    wired = format_of(network) > 1
    header = {
        "format": format_of(network),
        "version": __version__,
        "network": {name: value for name, value in asdict(network).items() if wired or name not in _WIRING},
        "theta": {"dtype": host.dtype.name, "shape": list(host.shape)},
        "preprocessing": None if preprocessing is None else dict(preprocessing),
        "about": dict(about or {}),
    }
    try:
        header = json.loads(canonical(header))  # tuples to lists, keys to text, as they will be read
        header["sha256"] = digest(header, host)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"preprocessing and about must be plain JSON, with finite numbers: {error}") from error
    if fault := _unfit(header):
        raise DataError(f"preprocessing and about must be plain JSON; here it {fault}")
    content = safetensors.numpy.save({"theta": host}, {"gpubp": canonical(header)})
    n_text, most = int.from_bytes(content[:8], "little"), most_text(host.nbytes)
    if n_text > most:
        raise DataError(
            f"preprocessing, about and ties take {n_text:,} bytes, and {most:,} at most are read; give fewer columns "
            "or categories, or a shorter about"
        )
    write_whole(path, content)


def load_model(path: str | PathLike[str]) -> Model:
    """Read a model file, a stranger's too, and check all of it: it is data, and no code in it is ever run.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Model
        Its ``theta`` is NumPy's, whatever device it was trained on; :func:`gpubp.predict` takes it to any other.

    Raises
    ------
    ModelFileError
        If there is no such file, or it is truncated, changed, foreign, or of a newer format.

    Notes
    -----
    Time and memory are in proportion to the file's size, whatever it asks for: docs/security.md says how much.
    """
    try:
        return _read(path)
    except ModelFileError as error:
        raise ModelFileError(f"{_told(path)} {error}") from error
    except FileNotFoundError as error:
        fix = "give the path of a model file, as `gpubp train` writes it"
        raise ModelFileError(f"{_told(path)} does not exist; {fix}") from error
    except IsADirectoryError as error:
        raise ModelFileError(f"{_told(path)} is a folder, not a model file; give the path of a file in it") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        fix = "give the path of a model file that you may read"
        raise ModelFileError(f"{_told(path)} cannot be read: {reason}; {fix}") from error
    except MemoryError as error:
        raise ModelFileError(f"{_told(path)} needs more memory than there is; load it on a larger machine") from error


_FIX = "copy it again from where it was made, or train the model again"


def _refusal(reason: str) -> ModelFileError:
    """Word why a file is refused, to follow its path; what the reason quotes may be of any length."""
    return ModelFileError(f"{brief(reason)}; {_FIX}")


def _told(path: str | PathLike[str]) -> str:
    return plain(os.fspath(path))


def _read(path: str | PathLike[str]) -> Model:
    """Read a model file; a fault is worded to follow the file's path."""
    try:
        metadata, tensors = read_tensors(path)
    except NotWhole as error:
        raise _refusal(f"is no model file, or is truncated or damaged ({error})") from error
    if "gpubp" not in metadata:
        raise _refusal("is a safetensors file, but none that gpubp wrote")
    header = _header(metadata["gpubp"])
    if list(tensors) != ["theta"] or tensors["theta"].dtype.name not in _TYPES:
        raise _refusal("does not hold one tensor, theta, in float32 or float64")
    return _model(header, tensors["theta"])


def _header(text: str) -> dict[str, Any]:
    header = parsed(text)
    if header is None:
        raise _refusal("has a damaged header")
    if fault := _unfit(header):
        raise _refusal(f"has a header that {fault}")
    number = header.get("format")
    if isinstance(number, int) and number > FORMAT:
        of_file, version = brief(str(number), 40), brief(str(header.get("version")), 40)
        raise ModelFileError(
            f"has the format {of_file}, from gpubp {version}; gpubp {__version__} reads up to {FORMAT}. "
            "Upgrade it: pip install --upgrade gpubp"
        )
    _check_types("header", header, _HEADER)
    _check_types("topology", header["network"], _TOPOLOGY | _WIRING if number == 2 else _TOPOLOGY)
    return header


def _model(header: dict[str, Any], theta: np.ndarray) -> Model:
    """Build the model that a header describes."""
    if header.pop("sha256") != digest(header, theta):
        raise _refusal("was changed after it was written: its checksum does not match")
    if header["format"] not in (1, 2) or header["theta"] != {"dtype": theta.dtype.name, "shape": list(theta.shape)}:
        raise _refusal("has a header that does not describe its contents")
    n_parameters = theta.shape[-1] if theta.shape else 0
    if any(isinstance(n, int) and n > n_parameters for n in header["network"]["sizes"]):
        raise _refusal(f"holds parameters that do not fit: a unit has one or more, and theta has {n_parameters}")
    try:
        network = Network(**header["network"])
    except (DataError, TypeError, ValueError, OverflowError) as error:
        raise _refusal(f"describes no network ({error})") from error
    if fault := _fault(network, theta):
        raise _refusal(f"holds parameters that do not fit: theta {fault}")
    return Model(network, theta, header["preprocessing"], header["about"], header["version"])


def _fault(network: Network, theta: np.ndarray) -> str | None:
    """Say what is wrong with parameters, if anything."""
    wanted = network.n_parameters
    if theta.dtype.name not in _TYPES:
        return f"must be float32 or float64, got {theta.dtype}"
    if theta.ndim not in (1, 2) or theta.shape[-1] != wanted or not theta.size:
        return f"must be ({wanted},) or (K, {wanted}) for a network of sizes {network.sizes}, got {theta.shape}"
    if not np.isfinite(theta).all():
        return "is not finite"
    return None if network.tied is None or np.array_equal(theta, network.tied.tie(theta)) else "breaks the ties"


def _check_types(what: str, value: Any, types: Mapping[str, Any]) -> None:
    if not has_types(value, types):
        raise _refusal(f"has a malformed {what}")


def _unfit(header: dict[str, Any]) -> str | None:
    """Say why JSON cannot go wherever it may have to, if so: no file takes a lone surrogate, no loop any depth."""
    parts: list[Any] = [header]
    for _ in range(MOST_LEVELS):
        parts = [
            inner
            for part in parts
            if isinstance(part, dict | list)
            for inner in (part.values() if isinstance(part, dict) else part)
        ]
        if not parts:
            break
    else:
        return f"is more than {MOST_LEVELS} levels deep"
    try:
        json.dumps(header, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "holds text that is no Unicode, with one half of a surrogate pair"
    return None


# --- what every file of ours has ---


def has_types(value: Any, types: Mapping[str, Any]) -> bool:
    """Tell whether JSON is an object with just these names, each of its type."""
    if not isinstance(value, dict) or set(value) != set(types):
        return False
    return all(isinstance(value[key], kind) for key, kind in types.items())


def canonical(header: Any) -> str:
    """Write a header as JSON in the one way that there is for it."""
    return json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False)


def parsed(text: str) -> dict[str, Any] | None:
    """Read a header that :func:`canonical` wrote; None where it did not."""
    try:
        header = json.loads(text)
        as_written = isinstance(header, dict) and canonical(header) == text
    except (ValueError, RecursionError):
        return None
    return header if as_written else None


def bytes_of(array: np.ndarray) -> memoryview:
    """Give the bytes of an array, row by row."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def digest(header: dict[str, Any], *arrays: np.ndarray) -> str:
    """Take the SHA-256 of a header and of the bytes of arrays."""
    of_all = hashlib.sha256(canonical(header).encode("ascii"))
    for array in arrays:
        of_all.update(bytes_of(array))
    return of_all.hexdigest()


def write_whole(path: str | PathLike[str], content: bytes) -> None:
    """Write a file so that nobody ever sees a part of it: see :func:`written_whole`."""
    with written_whole(path) as file:
        file.write(content)


@contextlib.contextmanager
def written_whole(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file to be written so that nobody ever sees a part of it: beside it first, then renamed onto it.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left behind.
    """
    path = Path(os.path.realpath(path))  # what a link points to is replaced, not the link
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not an ordinary file and cannot be replaced by one; give another path")
    beside = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(beside, "xb") as file:  # with the permissions that any new file gets
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError):  # the name that the user gave, not that of the file beside it
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
