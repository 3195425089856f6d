"""Many training steps in one compiled function, run by several threads together.

Each thread has its share of the units of every hidden layer, and with them their weights: the columns of the first
layer, whose inputs all threads read, and the rows of each layer above it. Threads wait for each other only to add up
their parts of the total inputs of a layer, and to hand on its signals: cores have little to send each other so. While
they take steps each has its columns of the first layer in a place of its own: in common rows they lie too close to
those of others for cores to change them undisturbed.

Of a stack of networks each thread takes a few at a time, and the steps of one after the other.
"""

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from gpubp.engine.cpu.compiling import compiled
from gpubp.engine.cpu.mailbox import APART, next_request, number_of_request, request_at, times_passed, wait_for_all
from gpubp.engine.cpu.native import AS_IS, TRANSPOSED, add_one, address_at, address_of, call, multiply, pointer_to
from gpubp.engine.cpu.outputs import Layers
from gpubp.engine.cpu.rows import (
    add_up,
    all_finite,
    as_long_as_may_be,
    average,
    copy_rows,
    gather,
    keep,
    pointer_from,
    pointer_into,
    set_rows,
    shrink,
    sum_of_rows,
    sum_of_squares,
)


class Work(NamedTuple):
    """What stays the same from step to step: the layers, the loops of the error and of the optimizer, the objective.

    Attributes
    ----------
    layers : Layers
    error, change : int
        Where the loops of the error and of the optimizer are.
    shrinks : bool
        Whether the last but one of a step's settings is the part by which each parameter shrinks after its change.
    error_parameter : float
    slopes : (n_layers,) array of int64
        Where the loops of the units' derivatives are, 0 where the error's loop does their work.
    mean : bool
        See :class:`gpubp.engine.plain.step.Objective`.
    penalty_reported : bool
        Whether the sum of the squared weights is asked for.
    n_parameters : int
    rows : int
        How many rows of a layer's gradient are made before they are used: few, so that they are still in the cache, and
        enough for a product of matrices to be fast.
    mask : (n_parameters,) array
        1 for parameters that there are, 0 for those that there are not; empty where there are all.
    places, weight_at : (n,) arrays of int64
        Where the parameters are that there are, and for each the number of its weight, the same where they are equal;
        empty where all are free.
    n_equal : (n_weights,) array
        How many parameters are that weight.
    """

    layers: Layers
    error: int
    change: int
    shrinks: bool
    error_parameter: float
    slopes: np.ndarray
    mean: bool
    penalty_reported: bool
    n_parameters: int
    rows: int
    mask: np.ndarray
    places: np.ndarray
    weight_at: np.ndarray
    n_equal: np.ndarray


class Request(NamedTuple):
    """What a call is asked to do; all but the numbers are addresses of arrays in rows without gaps.

    For a stack the arrays of one network lie behind those of the one before, but for the samples and the settings: how
    far apart these are, in numbers, is told, and is 0 where networks share them.

    Attributes
    ----------
    n_networks : int
    n_samples, x, d, weights : int
        The samples; no address of weights where they count alike.
    x_apart, d_apart, weights_apart : int
    order : int
        In which order the samples come, ``(n_samples,)`` of int64; no address where they come in their own.
    order_apart : int
        How far the order of an epoch lies from that of the next; 0 where all have the same.
    own : int
        For each network of a stack how many samples it has, and where in ``order`` and in ``weights`` its own begin,
        ``(K, 3)`` of int64; no address where networks have the same.
    window : int
        For how many steps samples are gathered at once, for networks one behind the other that share an order; 0 where
        each network gathers its own, step by step.
    size : int
        How many samples a batch has.
    theta, first, second : int
        The parameters, and the state of the optimizer; no address of what it does not need.
    n_steps : int
        How many steps the epoch has: those of an epoch, as often as it is gone through.
    settings, n_settings, settings_apart : int
        For each step what the optimizer's loop is given, and last the strength of the penalty; ``(n_steps,
        n_settings)``.
    values, sample_weight : int
        To be set to the objective before each step, without the penalty, and to the weight of its samples;
        ``(n_steps,)`` of float64.
    squares : int
        To be set to the sum of each thread's squared weights, where the penalty is reported;
        ``(n_steps, n_threads)`` of float64.
    finite : int
        To be set to 1 where a thread's parameters are finite after the last step, else to 0; ``(n_threads,)`` of int64.
    outputs : int
        To be set to the outputs of all samples, which are one batch in their own order, after the last step,
        ``(n_samples, n_outputs)``; no address where nobody asks for them.
    begin, end : int
        Which of the epoch's steps to take.
    taken : int
        Counts the turns that threads have taken at the networks of a stack: 0, and last of all.
    """

    n_networks: int
    n_samples: int
    x: int
    targets: int
    weights: int
    x_apart: int
    d_apart: int
    weights_apart: int
    order: int
    order_apart: int
    own: int
    window: int
    size: int
    theta: int
    first: int
    second: int
    n_steps: int
    settings: int
    n_settings: int
    settings_apart: int
    values: int
    sample_weight: int
    squares: int
    finite: int
    outputs: int
    begin: int
    end: int
    taken: int


LAST_OF_REQUEST = len(Request._fields) - 1
NETWORKS_AT_ONCE = 8  # of a stack that a thread takes in its turn, at most


class Buffers(NamedTuple):
    """Room for one batch. What threads share lies layer after layer, what each has for itself in a row of its own.

    Attributes
    ----------
    x, d, weights : (n_threads, n) arrays
        Chosen samples, where there is an order: each thread has all of a batch, which is faster than to fetch what
        another has chosen.
    totals, outputs : (n_threads, n) arrays
        Of a thread's units in each hidden layer, and of all units of the output layer.
    partials : (n_threads, n) array
        What a thread's units below add to the total inputs of each layer but the first.
    signals : (n_threads, n) array
        Derivatives at the total inputs of each layer but the first; threads that share a network use the first row.
    own_signals : (n_threads, n) array
        Those of a thread's units in the first layer.
    gradients : (n_threads, n) array
        Of some rows of a layer, or of all parameters where some are equal.
    sums : (n_threads, n) array
        Of the derivatives at parameters that are equal.
    first_layers : (n_threads, n) array
        Each thread's columns of the first layer, and of what the optimizer keeps of them; nothing where they stay where
        they are.
    notes : (n_threads * APART,) array of float64
        The error and the weight of a thread's samples.
    own_at, shared_at, start_at : (n_layers,) arrays of int64
        Where each layer begins in what a thread has for itself, in what threads share, and in the parameters.
    """

    x: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    totals: np.ndarray
    outputs: np.ndarray
    partials: np.ndarray
    signals: np.ndarray
    own_signals: np.ndarray
    gradients: np.ndarray
    sums: np.ndarray
    first_layers: np.ndarray
    notes: np.ndarray
    own_at: np.ndarray
    shared_at: np.ndarray
    start_at: np.ndarray


@compiled
def take_part(thread, n_threads, mailbox, work, buffers):
    """Take steps as one of several threads whenever it is asked: see :class:`Request`."""
    served = number_of_request(mailbox, thread)
    while _take_steps(thread, n_threads, mailbox, work, buffers, _request(mailbox, n_threads)):
        if thread == 0 or not next_request(mailbox, thread, served):
            return
        served += 1


@compiled
def take_part_in_stack(thread, n_threads, mailbox, work, buffers):
    """Take the steps of some networks of a stack, alone, whenever it is asked: see :class:`Request`.

    Whichever thread is free takes the next few networks: threads need not be equally fast.
    """
    served, row = number_of_request(mailbox, thread), slice(thread, thread + 1)
    own = Buffers(  # what a thread uses that has networks of its own
        buffers.x[row],
        buffers.targets[row],
        buffers.weights[row],
        buffers.totals[row],
        buffers.outputs[row],
        buffers.partials[row],
        buffers.signals[row],
        buffers.own_signals[row],
        buffers.gradients[row],
        buffers.sums[row],
        buffers.first_layers[row],
        buffers.notes[thread * APART : (thread + 1) * APART],
        buffers.own_at,
        buffers.shared_at,
        buffers.start_at,
    )
    taken = (n_threads + 1) * APART + LAST_OF_REQUEST
    while True:
        asked, passed = _request(mailbox, n_threads), times_passed(mailbox, n_threads)
        at_once = max(1, min(NETWORKS_AT_ONCE, asked.n_networks // (4 * n_threads)))
        low = add_one(mailbox, taken) * at_once
        while low < asked.n_networks:
            _take_steps_of_some(asked, work, own, mailbox, low, min(low + at_once, asked.n_networks))
            low = add_one(mailbox, taken) * at_once
        if not wait_for_all(mailbox, n_threads, passed + 1) or thread == 0:
            return
        if not next_request(mailbox, thread, served):
            return
        served += 1


@register_jitable
def _take_steps_of_some(asked, work, own, mailbox, low, high):
    """Take the steps of some networks, one after the other, or some steps of each where they share samples gathered."""
    window = asked.window if asked.window else asked.end - asked.begin
    for begin in range(asked.begin, asked.end, max(window, 1)):
        gathered, end = 0, min(begin + window, asked.end)
        for network in range(low, high):
            one = _of_network(asked, network, work, own.gradients.itemsize, mailbox, begin, end)
            if asked.window:
                order = one.order
                one = _with_samples_gathered(one, work, own, mailbox, order == gathered)
                gathered = order
            _take_steps(0, 1, mailbox, work, own, one)


@register_jitable
def _request(mailbox, n_threads):
    n = request_at(mailbox, n_threads)
    return Request(
        *(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10]),
        *(
            n[11],
            n[12],
            n[13],
            n[14],
            n[15],
            n[16],
            n[17],
            n[18],
            n[19],
            n[20],
            n[21],
            n[22],
            n[23],
            n[24],
            n[25],
            n[26],
            n[27],
        ),
    )


@register_jitable
def _of_network(asked, network, work, item, whole, begin, end):
    """Turn a request for a stack into one for some steps of one network; ``whole`` is an array of int64."""
    parameters, found = network * work.n_parameters * item, network * asked.n_steps * 8
    n_samples, order, weights = asked.n_samples, asked.order, asked.weights + network * asked.weights_apart * item
    if asked.own:
        own = pointer_to(asked.own, whole)
        n_samples, order = own[3 * network], order + own[3 * network + 1] * 8
        weights += own[3 * network + 2] * item
    return Request(
        1,
        n_samples,
        asked.x + network * asked.x_apart * item,
        asked.targets + network * asked.d_apart * item,
        weights,
        0,
        0,
        0,
        order,
        asked.order_apart,
        0,
        0,
        asked.size,
        asked.theta + parameters,
        asked.first + parameters,
        asked.second + parameters,
        asked.n_steps,
        asked.settings + network * asked.settings_apart * item,
        asked.n_settings,
        0,
        asked.values + found,
        asked.sample_weight + found,
        asked.squares + found,
        asked.finite + network * 8,
        asked.outputs
        + (network * asked.n_samples * work.layers.sizes[work.slopes.size] * item if asked.outputs else 0),
        begin,
        end,
        0,
    )


@register_jitable
def _with_samples_gathered(asked, work, own, whole, again):
    """Gather the samples of all steps of a request, those of the network before it if ``again``; what it is then."""
    at, example = asked.begin * asked.size, own.gradients
    n = min(asked.end * asked.size, asked.n_samples) - at
    inputs, outputs = work.layers.sizes[0], work.layers.sizes[work.slopes.size]
    order = pointer_to(asked.order, whole)
    if not again:
        gather(pointer_into(own.x, 0), inputs, pointer_to(asked.x, example), order, at, n)
        gather(pointer_into(own.targets, 0), outputs, pointer_to(asked.targets, example), order, at, n)
    weights = asked.weights
    if weights:
        gather(pointer_into(own.weights, 0), 1, pointer_to(asked.weights, example), order, at, n)
        weights = address_of(own.weights) - at * example.itemsize
    return Request(
        1,
        asked.n_samples,
        address_of(own.x) - at * inputs * example.itemsize,
        address_of(own.targets) - at * outputs * example.itemsize,
        weights,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        asked.size,
        asked.theta,
        asked.first,
        asked.second,
        asked.n_steps,
        asked.settings,
        asked.n_settings,
        0,
        asked.values,
        asked.sample_weight,
        asked.squares,
        asked.finite,
        asked.outputs,
        asked.begin,
        asked.end,
        0,
    )


@register_jitable
def _share_of(n, thread, n_threads):
    """Give where a thread's part of n things begins and ends."""
    return n * thread // n_threads, n * (thread + 1) // n_threads


@register_jitable
def _take_steps(thread, n_threads, mailbox, work, buffers, asked):
    """Do the steps of one request; False where another thread will never do its part."""
    values, weights = pointer_to(asked.values, buffers.notes), pointer_to(asked.sample_weight, buffers.notes)
    squares, finite = pointer_to(asked.squares, buffers.notes), pointer_to(asked.finite, mailbox)
    last, passed = work.slopes.size - 1, times_passed(mailbox, n_threads)
    finite[thread] = 1

    if buffers.first_layers.size:
        _move_first_layer(thread, n_threads, work, buffers, asked, back=False)
    steps_of_epoch = (asked.n_samples + asked.size - 1) // asked.size
    for step in range(asked.begin, asked.end):
        at = step % steps_of_epoch * asked.size
        b = min(asked.size, asked.n_samples - at)
        if asked.order:
            _choose(thread, mailbox, work, buffers, asked, step // steps_of_epoch * asked.order_apart + at, b)

        if not _pass_forward(thread, n_threads, mailbox, work, buffers, asked, at, b, step, passed):
            return False
        passed += max(last, 1)
        _error_of_own_samples(thread, n_threads, work, buffers, asked, at, b, step)
        passed += 1
        if not wait_for_all(mailbox, n_threads, passed):
            return False

        error, weight = 0.0, 0.0
        for other in range(n_threads):
            error += buffers.notes[other * APART]
            weight += buffers.notes[other * APART + 1]
        share = 1.0
        if work.mean:
            share = 1.0 / weight if weight != 0.0 else 0.0  # a batch whose weights sum to 0 has no effect
        if thread == 0:
            values[step], weights[step] = error * share, weight

        squared = 0.0
        for k in range(last, -1, -1):
            if k > 0:
                _signals_below(thread, n_threads, work, buffers, asked, b, k)
            squared += _change_layer(thread, n_threads, work, buffers, asked, at, b, step, k, share, finite)
            if k > 1:
                passed += 1
                if not wait_for_all(mailbox, n_threads, passed):
                    return False
        if work.places.size:
            _change_equal_weights(work, buffers, asked, step, share, finite)
        squares[step * n_threads + thread] = squared

    if asked.outputs and asked.end == asked.n_steps:
        if not _pass_forward(
            thread, n_threads, mailbox, work, buffers, asked, 0, asked.n_samples, asked.end - 1, passed
        ):
            return False
        passed += max(last, 1)
        _outputs_of_own_samples(thread, n_threads, work, buffers, asked)
    if buffers.first_layers.size:
        _move_first_layer(thread, n_threads, work, buffers, asked, back=True)
    return wait_for_all(mailbox, n_threads, passed + 1)


@register_jitable
def _pass_forward(thread, n_threads, mailbox, work, buffers, asked, at, b, step, passed):
    """Pass a batch forward to the parts of the output layer's total inputs; False where another thread never comes.

    Threads wait for each other once for each layer but the first, and once at least.
    """
    last = work.slopes.size - 1
    for k in range(last):
        if k > 0:
            _add_to_next_layer(thread, n_threads, work, buffers, asked, at, b, step, k)
            passed += 1
            if not wait_for_all(mailbox, n_threads, passed):
                return False
        _outputs_of_own_units(thread, n_threads, work, buffers, asked, at, b, step, k)
    _add_to_next_layer(thread, n_threads, work, buffers, asked, at, b, step, last)
    return wait_for_all(mailbox, n_threads, passed + 1)


@register_jitable
def _place_of_layer(thread, n_threads, work, buffers, asked, k):
    """Give where layer ``k`` begins in the parameters and in the optimizer's state, and how far its rows are apart.

    Of the first layer it is where the thread's columns begin.
    """
    j, item = work.layers.sizes[k + 1], buffers.gradients.itemsize
    low, high = _share_of(j, thread, n_threads)
    if k == 0 and buffers.first_layers.size:
        place = address_of(buffers.first_layers) + thread * buffers.first_layers.shape[1] * item
        length = _rows_of_first_layer(work) * (high - low) * item
        return place, place + length, place + 2 * length, high - low
    at = (buffers.start_at[k] + (low if k == 0 else 0)) * item
    return asked.theta + at, asked.first + at, asked.second + at, j


@register_jitable
def _rows_of_first_layer(work):
    return work.layers.sizes[0] + (1 if work.layers.bias else 0)


@register_jitable
def _move_first_layer(thread, n_threads, work, buffers, asked, back):
    """Copy a thread's columns of the first layer and of the optimizer's state to where they are apart, or back."""
    j, rows, example = work.layers.sizes[1], _rows_of_first_layer(work), buffers.gradients
    low, high = _share_of(j, thread, n_threads)
    own = high - low
    theta, first, second, _ = _place_of_layer(thread, n_threads, work, buffers, asked, 0)
    for common, apart in ((asked.theta, theta), (asked.first, first), (asked.second, second)):
        if common:
            there, here = pointer_from(common, low, example), pointer_from(apart, 0, example)
            if back:
                copy_rows(there, j, here, own, rows, own)
            else:
                copy_rows(here, own, there, j, rows, own)


@register_jitable
def _choose(thread, mailbox, work, buffers, asked, at, b):
    """Gather a batch whose samples come in another order than theirs."""
    order, example = pointer_to(asked.order, mailbox), buffers.gradients
    for n, source, room in (
        (work.layers.sizes[0], asked.x, buffers.x),
        (work.layers.sizes[work.slopes.size], asked.targets, buffers.targets),
        (1 if asked.weights else 0, asked.weights, buffers.weights),
    ):
        gather(pointer_into(room, thread * room.shape[1]), n, pointer_to(source, example), order, at, b)


@register_jitable
def _samples_from(given, room, asked, at, first, n, thread):
    """Point to numbers of a batch's samples, from its sample ``first`` on, where each sample has ``n``."""
    if asked.order:
        return pointer_into(room, thread * room.shape[1] + first * n)
    return pointer_from(given, (at + first) * n, room)


@register_jitable
def _own_outputs(thread, n_threads, work, buffers, asked, at, step, k):
    """Point to what a thread has of the outputs below layer ``k``; and tell which units these are."""
    i = work.layers.sizes[k]
    if k == 0:
        return _samples_from(asked.x, buffers.x, asked, at, 0, i, thread), 0, i
    low, high = _share_of(i, thread, n_threads)
    return pointer_into(buffers.outputs, thread * buffers.outputs.shape[1] + buffers.own_at[k - 1]), low, high


@register_jitable
def _add_to_next_layer(thread, n_threads, work, buffers, asked, at, b, step, k):
    """Set what the thread's units below add to the total inputs of layer ``k``: its part of eq. (1)."""
    j, number = work.layers.sizes[k + 1], buffers.gradients.dtype.type
    below, low, high = _own_outputs(thread, n_threads, work, buffers, asked, at, step, k)
    w = pointer_from(asked.theta, buffers.start_at[k] + low * j, buffers.gradients)
    partial = pointer_into(buffers.partials, thread * buffers.partials.shape[1] + buffers.shared_at[k])
    multiply(work.layers.gemm, b, j, high - low, below, AS_IS, high - low, w, AS_IS, j, number, 0.0, partial, j)


@register_jitable
def _outputs_of_own_units(thread, n_threads, work, buffers, asked, at, b, step, k):
    """Set the total inputs, eq. (1), and the outputs, eq. (2), of the thread's units in hidden layer ``k``."""
    layers, example = work.layers, buffers.gradients
    i, j, number = layers.sizes[k], layers.sizes[k + 1], example.dtype.type
    low, high = _share_of(j, thread, n_threads)
    own, start, place = high - low, buffers.start_at[k], thread * buffers.totals.shape[1] + buffers.own_at[k]
    total, y = pointer_into(buffers.totals, place), pointer_into(buffers.outputs, place)
    if k == 0:
        theta, _, _, apart = _place_of_layer(thread, n_threads, work, buffers, asked, 0)
        x, w = _samples_from(asked.x, buffers.x, asked, at, 0, i, thread), pointer_from(theta, 0, example)
        if layers.bias:
            set_rows(total, b, own, pointer_from(theta, i * apart, example))
        kept = 1.0 if layers.bias else 0.0
        multiply(layers.gemm, b, own, i, x, AS_IS, i, w, AS_IS, apart, number, kept, total, own)
    else:
        biases = pointer_from(asked.theta, start + i * j + low, example)
        parts, apart = pointer_into(buffers.partials, buffers.shared_at[k] + low), buffers.partials.shape[1]
        add_up(total, b, own, parts, n_threads, apart, j, layers.bias, biases)
    call(layers.values[k], (layers.parameters[k], b, own, total, y))


@register_jitable
def _error_of_own_samples(thread, n_threads, work, buffers, asked, at, b, step):
    """Go through the output layer for the thread's share of the samples: eq. (1) to (4), and eq. (5) there."""
    layers, last, example = work.layers, work.slopes.size - 1, buffers.gradients
    j, number = layers.sizes[last + 1], example.dtype.type
    sample, beyond = _share_of(b, thread, n_threads)
    n, place = beyond - sample, thread * buffers.totals.shape[1] + buffers.own_at[last]
    total, y = pointer_into(buffers.totals, place), pointer_into(buffers.outputs, place)
    signal = pointer_into(buffers.signals, buffers.shared_at[last] + sample * j)
    _add_up_output_layer(total, work, buffers, asked, sample, n, n_threads)
    if layers.values[last]:
        call(layers.values[last], (layers.parameters[last], n, j, total, y))
    targets = _samples_from(asked.targets, buffers.targets, asked, at, sample, j, thread)
    sample_weight = _samples_from(asked.weights, buffers.weights, asked, at, sample, 1, thread)
    weighed = 1 if asked.weights else 0
    buffers.notes[thread * APART] = call(
        work.error, (number(work.error_parameter), n, j, total, y, targets, weighed, sample_weight, signal)
    )
    if work.slopes[last]:
        call(work.slopes[last], (layers.parameters[last], n, j, total, y, signal, j))
    weight = float(n)
    if weighed:
        weight = 0.0
        for c in range(n):
            weight += sample_weight[c]
    buffers.notes[thread * APART + 1] = weight


@register_jitable
def _add_up_output_layer(total, work, buffers, asked, sample, n, n_threads):
    """Set the total inputs of the output layer for ``n`` samples, from ``sample`` on: eq. (1)."""
    layers, last = work.layers, work.slopes.size - 1
    i, j = layers.sizes[last], layers.sizes[last + 1]
    parts, apart = pointer_into(buffers.partials, buffers.shared_at[last] + sample * j), buffers.partials.shape[1]
    biases = pointer_from(asked.theta, buffers.start_at[last] + i * j, buffers.gradients)
    add_up(total, n, j, parts, n_threads, apart, j, layers.bias, biases)


@register_jitable
def _outputs_of_own_samples(thread, n_threads, work, buffers, asked):
    """Hand out the outputs, eq. (2), of the thread's share of the samples."""
    layers, last = work.layers, work.slopes.size - 1
    j = layers.sizes[last + 1]
    sample, beyond = _share_of(asked.n_samples, thread, n_threads)
    total = pointer_into(buffers.totals, thread * buffers.totals.shape[1] + buffers.own_at[last])
    y = pointer_from(asked.outputs, sample * j, buffers.gradients)
    _add_up_output_layer(total, work, buffers, asked, sample, beyond - sample, n_threads)
    call(layers.values[last], (layers.parameters[last], beyond - sample, j, total, y))


@register_jitable
def _signals_of(thread, n_threads, work, buffers, k):
    """Point to the derivatives at layer ``k``'s total inputs, and give the step from sample to sample."""
    if k > 0 or work.slopes.size == 1:
        return pointer_into(buffers.signals, buffers.shared_at[k]), work.layers.sizes[k + 1]
    low, high = _share_of(work.layers.sizes[1], thread, n_threads)
    return pointer_into(buffers.own_signals, thread * buffers.own_signals.shape[1]), high - low


@register_jitable
def _signals_below(thread, n_threads, work, buffers, asked, b, k):
    """Hand the signals of layer ``k`` on to the thread's units below: eq. (7), and eq. (5) there."""
    layers, number = work.layers, buffers.gradients.dtype.type
    i, j = layers.sizes[k], layers.sizes[k + 1]
    low, high = _share_of(i, thread, n_threads)
    own, place = high - low, thread * buffers.totals.shape[1] + buffers.own_at[k - 1]
    signals, step = _signals_of(thread, n_threads, work, buffers, k)
    if k == 1:
        lower, lower_step = _signals_of(thread, n_threads, work, buffers, 0)
    else:
        lower, lower_step = pointer_into(buffers.signals, buffers.shared_at[k - 1] + low), i
    w = pointer_from(asked.theta, buffers.start_at[k] + low * j, buffers.gradients)
    multiply(layers.gemm, b, own, j, signals, AS_IS, step, w, TRANSPOSED, j, number, 0.0, lower, lower_step)
    total, y = pointer_into(buffers.totals, place), pointer_into(buffers.outputs, place)
    call(work.slopes[k - 1], (layers.parameters[k - 1], b, own, total, y, lower, lower_step))


@register_jitable
def _change_layer(thread, n_threads, work, buffers, asked, at, b, step, k, share, finite):
    """Change a thread's weights and biases in layer ``k`` by their gradient, eq. (6), part by part.

    Give the sum of the weights' squares before that, where the penalty is reported.
    """
    layers, example = work.layers, buffers.gradients
    i, j, number = layers.sizes[k], layers.sizes[k + 1], example.dtype.type
    below, row, beyond = _own_outputs(thread, n_threads, work, buffers, asked, at, step, k)
    signals, step_of_signals = _signals_of(thread, n_threads, work, buffers, k)
    theta, first, second, apart = _place_of_layer(thread, n_threads, work, buffers, asked, k)
    n_below, start, squared = beyond - row, buffers.start_at[k], 0.0
    averaged = work.places.size > 0  # over equal weights, before any is changed
    low, high = _share_of(j, thread, n_threads)  # of the biases; of the weights all of a row, but for the first layer
    own, column, of_bias = (high - low, low, 0) if k == 0 else (j, 0, low)
    gradient = pointer_into(example, thread * example.shape[1])
    for part in range(0, n_below, work.rows):
        n, at = min(work.rows, n_below - part), (row + part) * apart * example.itemsize
        y = pointer_from(address_at(below), part, example)
        if averaged:
            gradient = pointer_into(example, start + (row + part) * j)
        multiply(
            layers.gemm, n, own, b, y, TRANSPOSED, n_below, signals, AS_IS, step_of_signals, number, 0.0, gradient, own
        )
        if work.penalty_reported:
            squared += sum_of_squares(pointer_from(theta + at, 0, example), n, own, apart)
        if work.mask.size:
            keep(gradient, n, own, pointer_into(work.mask, start + (row + part) * j + column), j)
        if averaged:
            continue
        places = (theta + at, first + at, second + at)
        _change(work, asked, step, places, n, own, apart, gradient, True, share, example, finite, thread)
    if layers.bias:
        of_biases = signals if k == 0 else pointer_from(address_at(signals), low, example)
        if averaged:
            gradient = pointer_into(example, start + i * j)
        sum_of_rows(gradient, b, high - low, of_biases, step_of_signals, number)
        if averaged:
            return squared
        if work.mask.size:
            keep(gradient, 1, high - low, pointer_into(work.mask, start + i * j + low), j)
        at = (i * apart + of_bias) * example.itemsize
        places = (theta + at, first + at, second + at)
        _change(work, asked, step, places, 1, high - low, apart, gradient, False, share, example, finite, thread)
    return squared


@register_jitable
def _change_equal_weights(work, buffers, asked, step, share, finite):
    """Change all parameters of a network by its gradient, averaged over those that are equal; one thread has it all."""
    layers, example = work.layers, buffers.gradients
    sums, item, number = pointer_into(buffers.sums, 0), example.itemsize, example.dtype.type
    average(pointer_into(example, 0), work.n_parameters, sums, work.places, work.weight_at, work.n_equal, number)
    for k in range(work.slopes.size):
        i, j, where = layers.sizes[k], layers.sizes[k + 1], buffers.start_at[k]
        for n_rows, weights in ((i, True), (1 if layers.bias else 0, False)):
            places = (asked.theta + where * item, asked.first + where * item, asked.second + where * item)
            gradient = pointer_into(example, where)
            _change(work, asked, step, places, n_rows, j, j, gradient, weights, share, example, finite, 0)
            where += n_rows * j


@register_jitable
def _change(work, asked, step, places, n_rows, n_columns, apart, gradient, weights, share, example, finite, thread):
    """Change rows of parameters that are ``apart``; after the last step note what is not finite.

    ``places`` are where they, and the two arrays of the optimizer's state, begin.
    """
    number, theta = example.dtype.type, pointer_from(places[0], 0, example)
    n_rows, n_columns, apart = as_long_as_may_be(n_rows, n_columns, apart)
    settings = pointer_from(asked.settings, step * asked.n_settings, example)
    l2 = settings[asked.n_settings - 1] if weights else number(0.0)
    call(
        work.change,
        (
            n_rows,
            n_columns,
            apart,
            theta,
            gradient,
            pointer_from(places[1], 0, example),
            pointer_from(places[2], 0, example),
            l2,
            number(share),
            settings,
        ),
    )
    if work.shrinks:
        shrink(theta, n_rows, n_columns, apart, settings[asked.n_settings - 2])
    if step == asked.end - 1 and not all_finite(theta, n_rows, n_columns, apart):
        finite[thread] = 0
