"""Model files: one safetensors file with the parameters and a JSON header, never a pickle.

The file holds one tensor, ``theta``, and one entry of metadata, ``gpubp``: a JSON object with the format's number,
gpubp's version, the topology, the tensor's type and shape, the preprocessing, other facts about the model, and a
SHA-256 over all of these and the tensor's bytes. Equal models give equal files, byte for byte.
"""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from gpubp._core.misplaced import not_a_network
from gpubp._core.names import near_file
from gpubp._core.text import escaped, excerpt
from gpubp._core.versions import newer_format
from gpubp._typing import Array
from gpubp._version import __version__
from gpubp.backends.backend import to_numpy
from gpubp.backends.inputs import accept_array
from gpubp.errors import DataError, ModelFileError
from gpubp.io.atomic_files import write_atomically
from gpubp.io.json_header import canonical_json, checksum, has_types, parse_canonical
from gpubp.io.safetensors import MalformedFile, max_header_bytes, read_tensors
from gpubp.nn.network import Network

FORMAT = 3
"""The newest format that this version reads. Each network is written in the lowest that can describe it."""

MAX_LEVELS = 64
"""Levels of nested lists and objects in a header."""


def format_of(network: Network) -> int:
    """Return the number of the format in which a network is written.

    2 has skips and ties, 3 members and parametric activations as well.
    """
    if network.n_members is not None or any(network.activation_weights):
        return 3
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
_TOPOLOGY_OF: dict[Any, dict[str, Any]] = {1: _TOPOLOGY, 2: _TOPOLOGY | {"skips": list, "ties": list | None}}
_TOPOLOGY_OF[3] = _TOPOLOGY_OF[2] | {"n_members": int | None}


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network with its preprocessing and facts about it.

    Attributes
    ----------
    network : Network
    theta : (P,) or (K, P) array of NumPy
        float32 or float64.
    preprocessing : dict, optional
        How a table is converted to the network's inputs, as JSON (see :mod:`gpubp.data.preprocessing`).
    about : dict
        Facts about the model, as JSON: task, scores, settings, ...
    version : str
        The version of gpubp that wrote it.
    """

    network: Network
    theta: np.ndarray
    preprocessing: dict[str, Any] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    version: str = __version__

    def __repr__(self) -> str:
        sizes = "-".join(map(str, self.network.sizes))
        return f"Model({sizes}, theta {self.theta.shape} {self.theta.dtype}, from gpubp {excerpt(self.version, 40)})"


def save_model(
    path: str | PathLike[str],
    network: Network | Model,
    theta: Array | None = None,
    *,
    preprocessing: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write a model file; an existing one is replaced only once the new one is complete.

    Parameters
    ----------
    path : str or path
        Its usual suffix is ``.safetensors``.
    network : Network or Model
        A Model, such as ``fit_table(...).model``, is written whole, without the arguments below.
    theta : (P,) or (K, P) array
        float32 or float64, of any namespace and device; float16 and bfloat16 become float32.
    preprocessing, about : mapping, optional
        Plain JSON to store with the network.

    Raises
    ------
    DataError
        If ``theta`` is missing, does not fit the network or is not finite, or the mappings are not plain JSON, or are
        longer or deeper than :func:`load_model` reads.
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

    if isinstance(network, Model):
        if theta is not None or preprocessing is not None or about is not None:
            raise DataError("a Model has its own theta, preprocessing and about; omit them")
        model = network
        network, theta, preprocessing, about = model.network, model.theta, model.preprocessing, model.about
    if not isinstance(network, Network):
        raise not_a_network("save_model", network, "save")
    if theta is None:
        raise DataError("save_model needs the parameters of the network, theta, such as those of train(...)")
    host = np.ascontiguousarray(to_numpy(accept_array("theta", theta)))
    host = host.astype("float32") if host.dtype == np.float16 else host
    if problem := _theta_problem(network, host):
        raise DataError(f"theta {problem}")
    host = host.astype(host.dtype.newbyteorder("<"), copy=False)
    number, topology = format_of(network), asdict(network)
    header = {
        "format": number,
        "version": __version__,
        "network": {name: topology[name] for name in _TOPOLOGY_OF[number]},
        "theta": {"dtype": host.dtype.name, "shape": list(host.shape)},
        "preprocessing": None if preprocessing is None else dict(preprocessing),
        "about": dict(about or {}),
    }
    try:
        header = json.loads(canonical_json(header))  # tuples become lists and keys text, as they will be read
        header["sha256"] = checksum(header, host)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"preprocessing and about must be plain JSON, with finite numbers: {error}") from error
    if problem := _json_problem(header):
        raise DataError(f"preprocessing and about must be plain JSON, but it {problem}")
    content = safetensors.numpy.save({"theta": host}, {"gpubp": canonical_json(header)})
    n_text, limit = int.from_bytes(content[:8], "little"), max_header_bytes(host.nbytes)
    if n_text > limit:
        raise DataError(
            f"preprocessing, about and ties take {n_text:,} bytes, and {limit:,} at most are read; use fewer columns "
            "or categories, or a shorter about"
        )
    write_atomically(path, content)


def load_model(path: str | PathLike[str]) -> Model:
    """Read a model file and check all of it. Untrusted files are safe to load: no code in them is ever run.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Model
        Its ``theta`` is a NumPy array, also if it was trained on a GPU; :func:`gpubp.predict` copies it to any device.

    Raises
    ------
    ModelFileError
        If the file does not exist, or is truncated, changed, written by another program, or of a newer format.

    Notes
    -----
    Time and memory are proportional to the file's real size, not to the sizes in its header; docs/security.md has the
    figures.

    Examples
    --------
    >>> import os, tempfile
    >>> from gpubp import Network, initial_weights, load_model, save_model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.safetensors")
    ...     save_model(path, Network((2, 3, 1)), initial_weights(Network((2, 3, 1))))
    ...     load_model(path).network.sizes
    (2, 3, 1)
    """
    try:
        return _read(path)
    except ModelFileError as error:
        from gpubp.data.readers import SUFFIXES

        if (other := _other_program(path)) is not None:
            raise ModelFileError(f"{_display_path(path)} is {other}") from error
        if os.fspath(path).lower().endswith(SUFFIXES):
            shown = _display_path(path)
            fix = f"train a model on it (gpubp train {shlex.quote(shown)}), and pass the file that this writes"
            raise ModelFileError(f"{shown} is a table, not a model file; {fix}") from error
        raise ModelFileError(f"{_display_path(path)} {error}") from error
    except FileNotFoundError as error:
        fix = "pass the path of a model file, as `gpubp train` writes it"
        raise ModelFileError(f"{_display_path(path)} does not exist{near_file(Path(path))}; {fix}") from error
    except IsADirectoryError as error:
        raise ModelFileError(
            f"{_display_path(path)} is a folder, not a model file; pass the path of a file in it"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        fix = "pass the path of a model file that you may read"
        raise ModelFileError(f"{_display_path(path)} cannot be read: {reason}; {fix}") from error
    except MemoryError as error:
        raise ModelFileError(
            f"{_display_path(path)} needs more memory than is available; load it on a larger machine"
        ) from error


def _other_program(path: str | PathLike[str]) -> str | None:
    """Return what a file is that another program writes, and what reads it; None if it is none that is known."""
    if not os.path.isfile(path):
        return None
    name = os.fspath(path).lower()
    with open(path, "rb") as file:
        start = file.read(3)
    if start in (b"\x80\x04\x95", b"\x80\x05\x95") or name.endswith((".pkl", ".pickle", ".joblib")):
        return (
            "a pickle, not a model file; it may run code and is never loaded here. If you trust it, joblib.load or "
            "pickle.load reads it; gpubp train, save_model, and save of the estimators for tables write model files"
        )
    if name.endswith(".onnx"):
        return "an ONNX model, not a model file; onnxruntime runs it, or pass the model file that it was exported from"
    return None


_FIX = "copy it again from its source, or train the model again"


def _file_error(reason: str) -> ModelFileError:
    """Return an error whose message is appended to the file's path; the reason may quote text of any length."""
    return ModelFileError(f"{excerpt(reason)}; {_FIX}")


def _display_path(path: str | PathLike[str]) -> str:
    return escaped(os.fspath(path))


def _read(path: str | PathLike[str]) -> Model:
    """Read a model file; the messages of errors are clauses that follow the file's path."""
    try:
        metadata, tensors = read_tensors(path)
    except MalformedFile as error:
        raise _file_error(f"is not a model file, or is truncated or damaged ({error})") from error
    if "gpubp" not in metadata:
        raise _file_error("is a safetensors file, but gpubp did not write it")
    header = _parse_header(metadata["gpubp"])
    if list(tensors) != ["theta"] or tensors["theta"].dtype.name not in _TYPES:
        raise _file_error("does not hold one tensor, theta, in float32 or float64")
    return _build_model(header, tensors["theta"])


def _parse_header(text: str) -> dict[str, Any]:
    header = parse_canonical(text)
    if header is None:
        raise _file_error("has a damaged header")
    if problem := _json_problem(header):
        raise _file_error(f"has a header that {problem}")
    number = header.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise ModelFileError(newer_format(number, header.get("version"), FORMAT))
    _check_types("header", header, _HEADER)
    _check_types("topology", header["network"], _TOPOLOGY_OF.get(number, _TOPOLOGY))
    return header


def _build_model(header: dict[str, Any], theta: np.ndarray) -> Model:
    """Build the model that a header describes."""
    if header.pop("sha256") != checksum(header, theta):
        raise _file_error("was changed after it was written: its checksum does not match")
    described = {"dtype": theta.dtype.name, "shape": list(theta.shape)}
    if header["format"] not in _TOPOLOGY_OF or header["theta"] != described:
        raise _file_error("has a header that does not match its contents")
    n_parameters = theta.shape[-1] if theta.shape else 0
    if any(isinstance(n, int) and n > n_parameters for n in header["network"]["sizes"]):
        raise _file_error(f"holds parameters that do not fit: a unit has one or more, but theta has {n_parameters}")
    try:
        network = Network(**header["network"])
    except (DataError, TypeError, ValueError, OverflowError) as error:
        raise _file_error(f"does not describe a network ({error})") from error
    if problem := _theta_problem(network, theta):
        raise _file_error(f"holds parameters that do not fit: theta {problem}")
    return Model(network, theta, header["preprocessing"], header["about"], header["version"])


def _theta_problem(network: Network, theta: np.ndarray) -> str | None:
    """Return what is wrong with parameters, as a predicate; None if they are valid."""
    expected = network.n_parameters
    if theta.dtype.name not in _TYPES:
        return f"must be float32 or float64, got {theta.dtype}; pass theta.astype('float32')"
    if theta.ndim not in (1, 2) or theta.shape[-1] != expected or not theta.size:
        return f"must be ({expected},) or (K, {expected}) for {network.in_words}, got {theta.shape}"
    if not np.isfinite(theta).all():
        return "is not finite"
    return None if network.tied is None or np.array_equal(theta, network.tied.tie(theta)) else "breaks the ties"


def _check_types(what: str, value: Any, types: Mapping[str, Any]) -> None:
    if not has_types(value, types):
        raise _file_error(f"has a malformed {what}")


def _json_problem(header: dict[str, Any]) -> str | None:
    """Return why JSON cannot be stored and read back: it is too deep, or holds a lone surrogate; None if it can."""
    parts: list[Any] = [header]
    for _ in range(MAX_LEVELS):
        parts = [
            inner
            for part in parts
            if isinstance(part, dict | list)
            for inner in (part.values() if isinstance(part, dict) else part)
        ]
        if not parts:
            break
    else:
        return f"is more than {MAX_LEVELS} levels deep"
    try:
        json.dumps(header, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "holds text that is not valid Unicode: one half of a surrogate pair"
    return None
