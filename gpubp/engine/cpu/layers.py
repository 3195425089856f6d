"""Loops over a layer: its units, and the error of the output layer.

``p`` is an equation's parameter, such as the slope of ``leaky_relu``, and 0 where it has none.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import types

from gpubp.engine.cpu import scalar
from gpubp.engine.cpu.compiling import REAL, Loop, address_of_loop, with_parameter
from gpubp.nn.activations import get_activation
from gpubp.nn.losses import get_loss

# --- units ---


@cache
def unit_value(name: str, dtype: str) -> Loop:
    """``(p, b, j, total, y)``: set the outputs of b samples and j units from their total inputs; y may replace them."""
    real, parameter = REAL[dtype], 0.0
    if name == "softmax":
        loop = _softmax
    else:
        value, parameter, has_parameter = with_parameter(get_activation(name).value)

        def loop(p, b, j, total, y):
            for i in range(b * j):
                y[i] = value(scalar, total[i], p) if has_parameter else value(scalar, total[i])
            return 0.0

    whole, numbers = types.intp, types.CPointer(real)
    return Loop(address_of_loop(loop, (name, dtype), real, whole, whole, numbers, numbers), parameter)


@cache
def unit_dE_dx(name: str, dtype: str) -> Loop:
    """``(p, b, j, total, y, signal, step)``: turn the derivatives at the outputs into those at the total inputs.

    A step leads from one row of the signal to the next.
    """
    real, parameter = REAL[dtype], 0.0
    if name == "softmax":
        loop = _softmax_dE_dx
    else:
        dE_dx, parameter, has_parameter = with_parameter(get_activation(name).dE_dx)

        def loop(p, b, j, total, y, signal, step):
            rows, columns = (1, b * j) if step == j else (b, j)
            for c in range(rows):
                for i in range(columns):
                    to, at = c * step + i, c * columns + i
                    if has_parameter:
                        signal[to] = dE_dx(scalar, signal[to], total[at], y[at], p)
                    else:
                        signal[to] = dE_dx(scalar, signal[to], total[at], y[at])
            return 0.0

    whole, numbers = types.intp, types.CPointer(real)
    return Loop(address_of_loop(loop, (name, dtype), real, whole, whole, numbers, numbers, numbers, whole), parameter)


def _softmax(p, b, j, total, y):
    """Go sample by sample: softmax is no equation of single units. All exponentials are taken at once, for speed."""
    for c in range(b):
        start, stop = c * j, (c + 1) * j
        largest = total[start]
        for i in range(start + 1, stop):
            largest = max(largest, total[i])
        for i in range(start, stop):
            y[i] = total[i] - largest
    for i in range(b * j):
        y[i] = scalar.exp(y[i])
    for c in range(b):
        start, stop = c * j, (c + 1) * j
        sum_of_exp = y[start]
        for i in range(start + 1, stop):
            sum_of_exp += y[i]
        for i in range(start, stop):
            y[i] /= sum_of_exp
    return 0.0


def _softmax_dE_dx(p, b, j, total, y, signal, step):
    """Multiply by the whole Jacobian, sample by sample."""
    for c in range(b):
        mean = signal[c * step] * y[c * j]
        for i in range(1, j):
            mean += signal[c * step + i] * y[c * j + i]
        for i in range(j):
            signal[c * step + i] = y[c * j + i] * (signal[c * step + i] - mean)
    return 0.0


# --- errors ---


def on_own_unit(loss_name: str, unit_name: str) -> bool:
    """Tell whether an error's derivative comes at the total inputs of the output layer, or at its outputs."""
    error = get_loss(loss_name)
    return error.dE_dx is not None and unit_name == error.output


@cache
def output_loss(loss_name: str, unit_name: str, dtype: str) -> Loop:
    """``(p, b, j, total, y, d, weighed, sample_weight, signal)``: give the error, and in signal its derivative.

    The derivative is at the total inputs for :func:`on_own_unit`, where softmax uses y as room, else at the outputs.
    """
    error, real = get_loss(loss_name), REAL[dtype]
    at_total, parameter = on_own_unit(loss_name, unit_name), 0.0
    if at_total and unit_name == "softmax":
        loop = _cross_entropy_of_softmax
    else:
        value, parameter, has_parameter = with_parameter(error.value_at if at_total else error.value)
        slope = with_parameter(error.dE_dx if at_total else error.dE_dy)[0]
        loop = _error_of_units(value, slope, has_parameter, at_total)
    whole, numbers = types.intp, types.CPointer(real)
    kinds = (real, whole, whole, numbers, numbers, numbers, whole, numbers, numbers)
    return Loop(address_of_loop(loop, (loss_name, unit_name, dtype), *kinds), parameter)


def _error_of_units(value: Any, slope: Any, has_parameter: bool, at_total: bool) -> Callable[..., float]:
    def loop(p, b, j, total, y, targets, weighed, sample_weight, signal):
        error = 0.0
        for c in range(b):
            of_sample = 0.0
            for i in range(c * j, (c + 1) * j):
                at = total[i] if at_total else y[i]
                if has_parameter:
                    of_sample += value(scalar, at, targets[i], p)
                    signal[i] = slope(scalar, y[i], targets[i], p)
                else:
                    of_sample += value(scalar, at, targets[i])
                    signal[i] = slope(scalar, y[i], targets[i])
            if weighed:
                of_sample *= sample_weight[c]
                for i in range(c * j, (c + 1) * j):
                    signal[i] *= sample_weight[c]
            error += of_sample
        return error

    return loop


def _cross_entropy_of_softmax(p, b, j, total, y, targets, weighed, sample_weight, signal):
    """Do softmax and cross entropy together: both need the sum of the exponentials."""
    for c in range(b):
        start, stop = c * j, (c + 1) * j
        largest = total[start]
        for i in range(start + 1, stop):
            largest = max(largest, total[i])
        for i in range(start, stop):
            signal[i] = total[i] - largest
    for i in range(b * j):
        y[i] = scalar.exp(signal[i])
    error = 0.0
    for c in range(b):
        start, stop = c * j, (c + 1) * j
        sum_of_exp, desired = y[start], targets[start]
        for i in range(start + 1, stop):
            sum_of_exp += y[i]
            desired += targets[i]
        log_of_sum, of_sample, part = (
            np.log(sum_of_exp),
            0.0,
            desired / sum_of_exp,
        )  # one division, not one for each unit
        for i in range(start, stop):
            of_sample += targets[i] * (log_of_sum - signal[i])
            signal[i] = part * y[i] - targets[i]
        if weighed:
            of_sample *= sample_weight[c]
            for i in range(start, stop):
                signal[i] *= sample_weight[c]
        error += of_sample
    return error
