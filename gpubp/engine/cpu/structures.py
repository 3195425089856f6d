"""The structures of ``c/engine.h`` for ctypes, and the part of a plan that describes a network."""

import ctypes
from collections.abc import Mapping
from functools import cache, partial
from itertools import accumulate
from typing import Any

import numpy as np

from gpubp.engine.cpu import library
from gpubp.nn.activations import base_name, get_activation
from gpubp.nn.losses import get_loss
from gpubp.nn.network import Network

LIMIT_OF_BLAS = 2**31
"""SciPy's BLAS takes numbers of rows and columns below this."""

_INTEGER, _NUMBER, _POINTER = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


def _fields(kinds: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, kind) for names, kind in kinds.items() for name in names.split()]


class Plan(ctypes.Structure):
    """``struct plan``: what stays the same from step to step."""

    _fields_ = _fields(
        {
            "n_layers": _INTEGER,
            "sizes parts_at part_from groups_at group_sizes": _POINTER,
            "bias": _INTEGER,
            "values derivatives parameters mixes loss": _POINTER,
            "loss_parameter": _NUMBER,
            "fused": _INTEGER,
            "update": _POINTER,
            "mean squares_wanted clipped n_parameters": _INTEGER,
            "mask": _POINTER,
            "n_places": _INTEGER,
            "places weight_at": _POINTER,
            "n_weights": _INTEGER,
            "n_equal gemm drops": _POINTER,
            "rank n_processes n_parts batch gathered_steps weighted sparse": _INTEGER,
            "n_shares n_threads stack n_teams apart": _INTEGER,
            "workspace": _POINTER,
        }
    )


class Request(ctypes.Structure):
    """``struct request``: what a call does."""

    _fields_ = _fields(
        {
            "n_networks n_samples": _INTEGER,
            "x columns row_starts targets weights": _POINTER,
            "x_apart targets_apart weights_apart": _INTEGER,
            "order": _POINTER,
            "order_apart": _INTEGER,
            "own": _POINTER,
            "window batch": _INTEGER,
            "theta first second rate_factors decay_factors": _POINTER,
            "rate_factors_apart decay_factors_apart": _INTEGER,
            "start": _POINTER,
            "n_steps": _INTEGER,
            "settings": _POINTER,
            "n_settings settings_apart": _INTEGER,
            "values sample_weights squares finite outputs": _POINTER,
            "thetas": _POINTER,
            "thetas_apart begin end phase": _INTEGER,
            "gradient": _POINTER,
            "keys dropout": _POINTER,
            "epoch first_sample": _INTEGER,
        }
    )


WHOLE_STEPS, GRADIENT, UPDATE = range(3)
"""The phases of a request."""


class Samples(ctypes.Structure):
    """``struct samples``: samples whose outputs are computed."""

    _fields_ = _fields({"n": _INTEGER, "x theta outputs": _POINTER})


_WORK = ctypes.CFUNCTYPE(None, _POINTER, _POINTER, _POINTER, _INTEGER)


class Functions(ctypes.Structure):
    """``struct functions``: the engine in one precision, for one instruction set; calls release the GIL."""

    _fields_ = _fields(
        {
            "size_of_plan size_of_request size_of_samples": _INTEGER,
            "find": ctypes.CFUNCTYPE(_POINTER, ctypes.c_char_p),
            "prepare": ctypes.CFUNCTYPE(_INTEGER, _POINTER),
            "train": _WORK,
            "outputs": _WORK,
            "ask": ctypes.CFUNCTYPE(_INTEGER, _POINTER, _INTEGER, _INTEGER),
        }
    )


def functions_of(dtype: str) -> Functions:
    """Return the engine's functions for a precision.

    Raises
    ------
    DataError
        If other instructions are requested than the CPU supports.
    RuntimeError
        If its structures are not those of this module.
    """
    return _functions_at(library.functions(dtype))


@cache
def _functions_at(address: int) -> Functions:
    functions = Functions.from_address(address)
    sizes = [getattr(functions, f"size_of_{name}") for name in ("plan", "request", "samples")]
    expected = [ctypes.sizeof(structure) for structure in (Plan, Request, Samples)]
    if sizes != expected:
        raise RuntimeError(f"the compiled engine has structures of {sizes} bytes, and not {expected}")
    return functions


def address(array: np.ndarray | None) -> int | None:
    """Return the address of an array's first element."""
    if array is None:
        return None
    pointer: int = array.__array_interface__["data"][0]  # in half the time of array.ctypes
    return pointer


def in_rows(array: np.ndarray) -> np.ndarray:
    """Return an array in rows without gaps, at an address that its type allows; a copy only where it is not so."""
    return array if array.flags.c_contiguous and array.flags.aligned else np.array(array, order="C")


def new_memory(n_bytes: int) -> tuple[np.ndarray, int]:
    """Allocate memory; return it, and the address of its first cache line."""
    memory = np.empty(n_bytes + 128, np.uint8)
    return memory, -(-memory.ctypes.data // 128) * 128


def set_arrays(plan: Plan, **arrays: Any) -> None:
    """Set fields to the addresses of arrays, and keep these as long as the plan."""
    kept = plan.__dict__.setdefault("kept", {})
    for name, array in arrays.items():
        kept[name] = array
        setattr(plan, name, address(array))


def network_plan(network: Network, functions: Functions, gemm: int) -> Plan | None:
    """Describe a network; None if an activation is not in the library, a layer is too wide, or it has members."""
    if network.n_members is not None:
        return None
    names = [base_name(name).partition("(")[0].encode() for name in network.activations]
    values = [functions.find(b"value " + name) for name in names]
    if None in values or max(network.sizes) >= LIMIT_OF_BLAS:
        return None
    activations = [get_activation(name) for name in network.activations]
    groups = [a.groups or (n,) for a, n in zip(activations, network.sizes[1:], strict=True)]
    plan = Plan(n_layers=len(names), bias=network.bias, n_parameters=network.n_parameters, gemm=gemm)
    set_arrays(
        plan,
        sizes=np.asarray(network.sizes, np.int64),
        parts_at=_starts(network.layers_below),
        part_from=np.asarray([below for layer in network.layers_below for below in layer], np.int64),
        groups_at=_starts(groups),
        group_sizes=np.asarray([n for sizes in groups for n in sizes], np.int64),
        values=np.asarray(values, np.uintp),
        derivatives=np.asarray([functions.find(b"derivative " + name) for name in names], np.uintp),
        parameters=np.asarray([_parameter(a.value) for a in activations]),
    )
    if any(network.activation_weights):
        ends = network.n_parameters - sum(network.activation_weights) + np.cumsum(network.activation_weights)
        n_weights = np.asarray(network.activation_weights)
        set_arrays(plan, mixes=np.where(n_weights > 0, ends - n_weights, -1).astype(np.int64))
    return plan


def set_loss(plan: Plan, network: Network, functions: Functions) -> bool:
    """Set the loss of a plan; False if it is not in the library."""
    loss, name = get_loss(network.loss), network.loss.partition("(")[0].encode()
    plan.fused = loss.at_total_inputs is not None and network.activations[-1] == loss.output
    plan.loss = functions.find(b"loss " + name + (b" at total inputs" if plan.fused else b""))
    plan.loss_parameter = _parameter(loss.at_total_inputs if plan.fused else loss.value)
    return plan.loss is not None


def _starts(parts: Any) -> np.ndarray:
    return np.asarray([0, *accumulate(len(part) for part in parts)], np.int64)


def _parameter(function: Any) -> float:
    """Return the number that an equation has as its parameter, such as the slope of ``leaky_relu``; 0 without one."""
    numbers = function.keywords.values() if isinstance(function, partial) else ()
    return float(next((number for number in numbers if isinstance(number, int | float)), 0.0))
