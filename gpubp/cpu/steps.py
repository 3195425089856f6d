"""Many training steps in one compiled function, run by several threads together.

Each step has two halves. In the first a thread passes its share of the batch's cases forward and backward. In the
second it finds the gradient of its share of each layer's weights, over all cases, and changes them at once. Between the
halves the threads wait for each other, so that what comes out does not depend on who was faster.
"""

from typing import NamedTuple

import numpy as np

from gpubp.cpu.compiling import compiled
from gpubp.cpu.native import AS_IS, TRANSPOSED, address_of, call, multiply, pointer_to, wait_for_all
from gpubp.cpu.outputs import Layers, pass_layer

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
    block : int
        How many numbers of a gradient are made before they are used, so that they are still in the cache.
    """

    layers: Layers
    error: int
    change: int
    error_parameter: float
    slopes: np.ndarray
    l2: float
    mean: bool
    penalty_reported: bool
    block: int


class Cases(NamedTuple):
    """Where x, d and the weights of the cases are, in rows without gaps; 0 where there are no weights."""

    n_cases: int
    x: int
    d: int
    weights: int


class Buffers(NamedTuple):
    """Room for one batch: chosen cases; total inputs, outputs and signals, layer after layer; what threads note."""

    x: np.ndarray
    d: np.ndarray
    weights: np.ndarray
    totals: np.ndarray
    outputs: np.ndarray
    signals: np.ndarray
    gradients: np.ndarray  # (n_threads, block or a little more)
    notes: np.ndarray  # (n_threads * APART,): error, weight and sum of the squared weights


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
        Set to the objective before each step, and to the weight of its cases.
    """
    layers, sizes, n_layers = work.layers, work.layers.sizes, work.slopes.size
    number = theta.dtype.type
    inputs, n_desired, item = sizes[0], sizes[n_layers], theta.itemsize
    most = min(size, cases.n_cases)
    weighed = 1 if cases.weights else 0
    gradient = buffers.gradients[thread]
    passed = 0

    for step in range(settings.shape[0]):
        at = begin + step * size
        b = min(size, cases.n_cases - at)
        own, beyond = b * thread // n_threads, b * (thread + 1) // n_threads
        n_own = beyond - own

        if order.size:
            x_at, d_at, weights_at = address_of(buffers.x), address_of(buffers.d), address_of(buffers.weights)
            all_x, all_d = pointer_to(cases.x, theta), pointer_to(cases.d, theta)
            all_weights = pointer_to(cases.weights, theta)
            for c in range(own, beyond):
                row = order[at + c]
                for i in range(inputs):
                    buffers.x[c * inputs + i] = all_x[row * inputs + i]
                for j in range(n_desired):
                    buffers.d[c * n_desired + j] = all_d[row * n_desired + j]
                if weighed:
                    buffers.weights[c] = all_weights[row]
        else:
            x_at, d_at = cases.x + at * inputs * item, cases.d + at * n_desired * item
            weights_at = cases.weights + at * item

        # forward
        below, start, place = pointer_to(x_at + own * inputs * item, theta), 0, 0
        for k in range(n_layers):
            j = sizes[k + 1]
            total = buffers.totals[place + own * j : place + beyond * j]
            y = buffers.outputs[place + own * j : place + beyond * j]
            start = pass_layer(layers, k, start, theta, n_own, below, total, y)
            below = pointer_to(address_of(y), theta)
            place += most * j

        # the error, eq. (3), and backward: eq. (4), (5) and (7)
        place -= most * n_desired
        signal = buffers.signals[place + own * n_desired : place + beyond * n_desired]
        d_own, weights_own = d_at + own * n_desired * item, weights_at + own * item
        note = thread * APART
        buffers.notes[note] = call(
            work.error,
            (number(work.error_parameter), n_own, n_desired, total, y, d_own, weighed, weights_own, signal),
        )
        for k in range(n_layers - 1, -1, -1):
            if work.slopes[k]:
                call(work.slopes[k], (layers.parameters[k], n_own, sizes[k + 1], total, y, signal))
            if k:
                i, j = sizes[k], sizes[k + 1]
                start -= i * j + (j if layers.bias else 0)
                place -= most * i
                lower = buffers.signals[place + own * i : place + beyond * i]
                w = theta[start : start + i * j]
                multiply(layers.gemm, n_own, i, j, signal, AS_IS, j, w, TRANSPOSED, j, 0.0, lower, i)
                signal = lower
                total = buffers.totals[place + own * i : place + beyond * i]
                y = buffers.outputs[place + own * i : place + beyond * i]

        weight = float(n_own)
        if weighed:
            weight, own_weights = 0.0, pointer_to(weights_own, theta)
            for c in range(n_own):
                weight += own_weights[c]
        buffers.notes[note + 1] = weight

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

        # the gradient, eq. (6), and the change, part by part
        squares, start, place, y_at = 0.0, 0, 0, x_at
        for k in range(n_layers):
            i, j = sizes[k], sizes[k + 1]
            signals = buffers.signals[place : place + b * j]
            stop, rows = i * (thread + 1) // n_threads, max(1, work.block // j)
            for row in range(i * thread // n_threads, stop, rows):
                n_rows = min(rows, stop - row)
                part = slice(start + row * j, start + (row + n_rows) * j)
                y_part = pointer_to(y_at + row * item, theta)
                multiply(layers.gemm, n_rows, j, b, y_part, TRANSPOSED, i, signals, AS_IS, j, 0.0, gradient, j)
                if work.l2 > 0.0 and work.penalty_reported:
                    squares += _sum_of_squares(theta[part])
                _change(work.change, theta[part], gradient, first[part], second[part], work.l2, share, settings[step])
            start += i * j
            if layers.bias:
                low, high = j * thread // n_threads, j * (thread + 1) // n_threads
                for unit in range(low, high):
                    gradient[unit - low] = 0.0
                for c in range(b):
                    for unit in range(low, high):
                        gradient[unit - low] += signals[c * j + unit]
                part = slice(start + low, start + high)
                _change(work.change, theta[part], gradient, first[part], second[part], 0.0, share, settings[step])
                start += j
            y_at = address_of(buffers.outputs[place:])
            place += most * j
        buffers.notes[note + 2] = squares

        passed += 1
        if not wait_for_all(barrier, n_threads, passed):
            return

        if thread == 0:
            for other in range(n_threads):
                error += 0.5 * work.l2 * buffers.notes[other * APART + 2]
            values[step], weights[step] = error * share, weight


@compiled
def _change(change, theta, gradient, first, second, l2, share, settings):
    number = theta.dtype.type
    call(change, (theta.size, theta, gradient, first, second, number(l2), number(share), settings))


def _plain_sum_of_squares(numbers):
    total = 0.0
    for value in numbers:
        total += value * value
    return total


# in whatever order is fastest: the sum is for people to read
_sum_of_squares = compiled(_plain_sum_of_squares, fastmath={"reassoc"})
