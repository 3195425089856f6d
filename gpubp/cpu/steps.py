"""Many training steps in one compiled function, run by several threads together.

Each thread has its share of the units of every hidden layer, and with them their weights: the columns of the first
layer, whose inputs all threads read, and the rows of each layer above it. Threads wait for each other only to add up
their parts of the total inputs of a layer, and to hand on its signals: cores have little to send each other so.
"""

from typing import NamedTuple

import numpy as np

from gpubp.cpu.compiling import compiled
from gpubp.cpu.native import AS_IS, TRANSPOSED, address_at, address_of, call, multiply, pointer_to, wait_for_all
from gpubp.cpu.outputs import Layers

APART = 8
"""Numbers of different threads are so many places apart: no two of them share a line of the cache."""


class Work(NamedTuple):
    """What stays the same from step to step: the layers, the loops of the error and of the rule, the objective.

    Attributes
    ----------
    layers : Layers
    error, change : int
        Where the loops of the error and of the rule are.
    error_parameter : float
    slopes : (n_layers,) array of int64
        Where the loops of the units' derivatives are, 0 where the error's loop does their work.
    l2 : float
        Strength of the penalty on the weights, 0 without.
    mean, penalty_reported : bool
        See :class:`gpubp.step.Objective`.
    rows : int
        How many rows of a layer's gradient are made before they are used: few, so that they are still in the cache, and
        enough for a product of matrices to be fast.
    """

    layers: Layers
    error: int
    change: int
    error_parameter: float
    slopes: np.ndarray
    l2: float
    mean: bool
    penalty_reported: bool
    rows: int


class Cases(NamedTuple):
    """Where x, d and the weights of the cases are, in rows without gaps; 0 where there are no weights."""

    n_cases: int
    x: int
    d: int
    weights: int


class Buffers(NamedTuple):
    """Room for one batch. What threads share lies layer after layer, what each has for itself in a row of its own.

    Attributes
    ----------
    x, d, weights : (n_threads, n) arrays
        Chosen cases, where there is an order.
    totals, outputs : (n_threads, n) arrays
        Of a thread's units in each hidden layer, and of all units of the output layer.
    partials : (n_threads, n) array
        What a thread's units below add to the total inputs of each layer but the first.
    signals : (n,) array
        Derivatives at the total inputs of each layer but the first, for all threads.
    own_signals : (n_threads, n) array
        Those of a thread's units in the first layer.
    gradients : (n_threads, n) array
    notes : (n_threads * APART,) array
        The error and the weight of a thread's cases.
    """

    x: np.ndarray
    d: np.ndarray
    weights: np.ndarray
    totals: np.ndarray
    outputs: np.ndarray
    partials: np.ndarray
    signals: np.ndarray
    own_signals: np.ndarray
    gradients: np.ndarray
    notes: np.ndarray


@compiled
def take_steps(
    thread,
    n_threads,
    barrier,
    work,
    cases,
    buffers,
    order,
    size,
    begin,
    theta,
    first,
    second,
    settings,
    values,
    weights,
    squares,
):
    """Take one step for each row of ``settings``, changing ``theta``, ``first`` and ``second`` in place.

    Parameters
    ----------
    thread, n_threads : int
        Which of how many threads calls; all of them call with the same other arguments.
    barrier : (2,) array of int64
        See :func:`gpubp.cpu.native.wait_for_all`.
    order : (n_cases,) or empty array of int64
        In which order the cases come, if not in their own.
    size, begin : int
        How many cases a batch has, and where the first batch begins.
    theta, first, second : (P,) arrays
        The parameters, and the state of the rule; what it does not need may be empty.
    settings : (n_steps, n) array
    values, weights : (n_steps,) arrays
        Set to the objective before each step, without the penalty, and to the weight of its cases.
    squares : (n_steps, n_threads) array
        Set to the sum of each thread's squared weights, where the penalty is reported.
    """
    layers, sizes, last = work.layers, work.layers.sizes, work.slopes.size - 1
    inputs, n_desired, item, bias = sizes[0], sizes[last + 1], theta.itemsize, layers.bias
    number = theta.dtype.type
    most = min(size, cases.n_cases)
    weighed = 1 if cases.weights else 0
    gradient = buffers.gradients[thread]
    penalized = work.l2 > 0.0 and work.penalty_reported
    passed = 0

    for step in range(settings.shape[0]):
        at = begin + step * size
        b = min(size, cases.n_cases - at)
        case, beyond = b * thread // n_threads, b * (thread + 1) // n_threads
        x_at, d_own, weights_own = _choose(cases, buffers, thread, order, at, b, case, beyond, theta, inputs, n_desired)
        x = pointer_to(x_at, theta)

        # forward: eq. (1) and (2)
        below, first_below, n_below, start, place, shared = x, 0, inputs, 0, 0, 0
        for k in range(last):
            i, j = sizes[k], sizes[k + 1]
            low, high = j * thread // n_threads, j * (thread + 1) // n_threads
            own = high - low
            total = buffers.totals[thread, place : place + b * own]
            y = buffers.outputs[thread, place : place + b * own]
            if k == 0:
                for c in range(b if bias else 0):
                    for unit in range(own):
                        total[c * own + unit] = theta[start + i * j + low + unit]
                w, kept = theta[start + low : start + i * j], 1.0 if bias else 0.0
                multiply(layers.gemm, b, own, i, below, AS_IS, i, w, AS_IS, j, kept, total, own)
            else:
                w = theta[start + first_below * j : start + i * j]
                partial = buffers.partials[thread, shared : shared + b * j]
                multiply(layers.gemm, b, j, n_below, below, AS_IS, n_below, w, AS_IS, j, 0.0, partial, j)
                passed += 1
                if not wait_for_all(barrier, n_threads, passed):
                    return
                for c in range(b):
                    for unit in range(own):
                        total[c * own + unit] = theta[start + i * j + low + unit] if bias else number(0.0)
                    for other in range(n_threads):
                        for unit in range(own):
                            total[c * own + unit] += buffers.partials[other, shared + c * j + low + unit]
                shared += most * j
            call(layers.values[k], (layers.parameters[k], b, own, total, y))
            below, first_below, n_below = pointer_to(address_of(y), theta), low, own
            start += i * j + (j if bias else 0)
            place += most * own

        # the output layer: each thread adds up the parts for its share of the cases, and finds the error, eq. (3), (4)
        i, j = sizes[last], n_desired
        w = theta[start + first_below * j : start + i * j]
        partial = buffers.partials[thread, shared : shared + b * j]
        multiply(layers.gemm, b, j, n_below, below, AS_IS, n_below, w, AS_IS, j, 0.0, partial, j)
        passed += 1
        if not wait_for_all(barrier, n_threads, passed):
            return
        total = buffers.totals[thread, place : place + (beyond - case) * j]
        y = buffers.outputs[thread, place : place + (beyond - case) * j]
        signal = buffers.signals[shared + case * j : shared + beyond * j]
        for c in range(case, beyond):
            for unit in range(j):
                total[(c - case) * j + unit] = theta[start + i * j + unit] if bias else number(0.0)
            for other in range(n_threads):
                for unit in range(j):
                    total[(c - case) * j + unit] += buffers.partials[other, shared + c * j + unit]
        if layers.values[last]:
            call(layers.values[last], (layers.parameters[last], beyond - case, j, total, y))
        buffers.notes[thread * APART] = call(
            work.error,
            (number(work.error_parameter), beyond - case, j, total, y, d_own, weighed, weights_own, signal),
        )
        if work.slopes[last]:
            call(work.slopes[last], (layers.parameters[last], beyond - case, j, total, y, signal, j))
        weight = float(beyond - case)
        if weighed:
            weight, own_weights = 0.0, pointer_to(weights_own, theta)
            for c in range(beyond - case):
                weight += own_weights[c]
        buffers.notes[thread * APART + 1] = weight
        passed += 1
        if not wait_for_all(barrier, n_threads, passed):
            return

        error, weight = 0.0, 0.0
        for other in range(n_threads):
            error += buffers.notes[other * APART]
            weight += buffers.notes[other * APART + 1]
        share = 1.0
        if work.mean:
            share = 1.0 / weight if weight > 0.0 else 0.0  # a batch whose cases all count nothing says nothing
        if thread == 0:
            values[step], weights[step] = error * share, weight

        # backward: eq. (5) and (7), and on the way the gradient, eq. (6), and the change, part by part
        sum_of_squares = 0.0
        for k in range(last, -1, -1):
            i, j = sizes[k], sizes[k + 1]
            if k == 0 and last > 0:  # the thread's columns
                low, high = j * thread // n_threads, j * (thread + 1) // n_threads
                signals, step_of_signals = pointer_to(address_of(buffers.own_signals[thread]), theta), high - low
                y_below, n_below, row, n_rows = x, inputs, 0, inputs
            else:  # the thread's rows
                low, high = 0, j
                signals, step_of_signals = pointer_to(address_of(buffers.signals[shared:]), theta), j
                if k == 0:
                    y_below, n_below, row, n_rows = x, inputs, 0, inputs
                else:
                    row = i * thread // n_threads
                    n_rows = i * (thread + 1) // n_threads - row
                    place -= most * n_rows
                    total = buffers.totals[thread, place : place + b * n_rows]
                    y = buffers.outputs[thread, place : place + b * n_rows]
                    y_below, n_below = pointer_to(address_of(y), theta), n_rows
                    w = theta[start + row * j : start + i * j]
                    if k == 1:
                        lower, lower_step = buffers.own_signals[thread], n_rows
                    else:
                        shared -= most * i
                        lower, lower_step = buffers.signals[shared + row :], i
                    multiply(layers.gemm, b, n_rows, j, signals, AS_IS, j, w, TRANSPOSED, j, 0.0, lower, lower_step)
                    call(work.slopes[k - 1], (layers.parameters[k - 1], b, n_rows, total, y, lower, lower_step))
            own = high - low
            for part in range(0, n_rows, work.rows):
                n = min(work.rows, n_rows - part)
                y_part = pointer_to(address_at(y_below) + part * item, theta)
                multiply(
                    layers.gemm,
                    n,
                    own,
                    b,
                    y_part,
                    TRANSPOSED,
                    n_below,
                    signals,
                    AS_IS,
                    step_of_signals,
                    0.0,
                    gradient,
                    own,
                )
                where = start + (row + part) * j + low
                if penalized:
                    for r in range(n):
                        sum_of_squares += _sum_of_squares(theta[where + r * j : where + r * j + own])
                _change(work.change, n, own, j, theta, where, gradient, first, second, work.l2, share, settings[step])
            if bias:
                if low == 0 and high == j and n_threads > 1:
                    low, high = j * thread // n_threads, j * (thread + 1) // n_threads
                    offset = low
                else:
                    offset = 0
                for unit in range(high - low):
                    gradient[unit] = 0.0
                for c in range(b):
                    for unit in range(high - low):
                        gradient[unit] += signals[c * step_of_signals + offset + unit]
                where = start + i * j + low
                _change(
                    work.change, 1, high - low, j, theta, where, gradient, first, second, 0.0, share, settings[step]
                )
            if k > 0:
                start -= sizes[k - 1] * i + (i if bias else 0)
            if k > 1:
                passed += 1
                if not wait_for_all(barrier, n_threads, passed):
                    return
        squares[step, thread] = sum_of_squares


@compiled
def _choose(cases, buffers, thread, order, at, b, case, beyond, theta, inputs, n_desired):
    """Give where a batch's x, and d and the weights of a thread's share of its cases, are.

    Cases in another order than theirs are gathered first.
    """
    item = theta.itemsize
    if not order.size:
        first = at + case
        return cases.x + at * inputs * item, cases.d + first * n_desired * item, cases.weights + first * item
    all_x, all_d = pointer_to(cases.x, theta), pointer_to(cases.d, theta)
    all_weights = pointer_to(cases.weights, theta)
    x, d, weights = buffers.x[thread], buffers.d[thread], buffers.weights[thread]
    for c in range(b):
        row = order[at + c]
        for i in range(inputs):
            x[c * inputs + i] = all_x[row * inputs + i]
    for c in range(case, beyond):
        row = order[at + c]
        for j in range(n_desired):
            d[(c - case) * n_desired + j] = all_d[row * n_desired + j]
        if cases.weights:
            weights[c - case] = all_weights[row]
    return address_of(x), address_of(d), address_of(weights)


@compiled
def _change(change, n_rows, n_columns, step, theta, where, gradient, first, second, l2, share, settings):
    """Change a part of theta, rows that are ``step`` apart, from ``where`` on."""
    number = theta.dtype.type
    call(
        change,
        (
            n_rows,
            n_columns,
            step,
            theta[where:],
            gradient,
            first[where:],
            second[where:],
            number(l2),
            number(share),
            settings,
        ),
    )


def _plain_sum_of_squares(numbers):
    total = 0.0
    for value in numbers:
        total += value * value
    return total


# in whatever order is fastest: the sum is for people to read
_sum_of_squares = compiled(_plain_sum_of_squares, fastmath={"reassoc"})
