"""The reference: equations (1)-(9) as printed in the paper, one number at a time, for one network of logistic units.

Weights are lists, ``weights[layer][i][j]`` from unit ``i`` of the layer below to unit ``j`` of the layer above. A bias
is the weight from an extra unit, the last ``i``, whose output is always 1. A case is a pair: inputs, desired outputs.
"""

import math


def total_input(y_below, w, j):
    """Eq. (1): x_j = sum over i of y_i w_ji."""
    x_j = 0.0
    for i in range(len(y_below)):
        x_j += y_below[i] * w[i][j]
    return x_j


def output(x_j):
    """Eq. (2): y_j = 1 / (1 + exp(-x_j))."""
    return 1.0 / (1.0 + math.exp(-x_j))


def error(outputs, desired):
    """Eq. (3): E = 1/2 sum over cases c and units j of (y_jc - d_jc)^2."""
    E = 0.0
    for c in range(len(outputs)):
        for j in range(len(outputs[c])):
            E += 0.5 * (outputs[c][j] - desired[c][j]) ** 2
    return E


def dE_dy(y_j, d_j):
    """Eq. (4)."""
    return y_j - d_j


def dE_dx(dE_dy_j, y_j):
    """Eq. (5)."""
    return dE_dy_j * y_j * (1.0 - y_j)


def dE_dw(dE_dx_j, y_i):
    """Eq. (6), in one case."""
    return dE_dx_j * y_i


def dE_dy_below(dE_dx_above, w, i):
    """Eq. (7): dE/dy_i = sum over j of dE/dx_j w_ji."""
    dE_dy_i = 0.0
    for j in range(len(dE_dx_above)):
        dE_dy_i += dE_dx_above[j] * w[i][j]
    return dE_dy_i


def change(dE_dw_ji, rate):
    """Eq. (8)."""
    return -rate * dE_dw_ji


def change_with_momentum(dE_dw_ji, previous, rate, momentum):
    """Eq. (9)."""
    return -rate * dE_dw_ji + momentum * previous


def with_extra_unit(y, bias):
    return [*y, 1.0] if bias else y


def forward(weights, inputs, bias=True):
    """Compute the outputs of every layer in one case, the inputs first."""
    y = [inputs]
    for w in weights:
        below = with_extra_unit(y[-1], bias)
        y.append([output(total_input(below, w, j)) for j in range(len(w[0]))])
    return y


def loss_and_gradient(weights, cases, bias=True):
    """Sum the error and its derivative by every weight over the cases."""
    gradient = zeros_like(weights)
    outputs, desired = [], []
    for inputs, d in cases:
        y = forward(weights, inputs, bias)
        outputs.append(y[-1])
        desired.append(d)
        signal = [dE_dx(dE_dy(y[-1][j], d[j]), y[-1][j]) for j in range(len(d))]
        for layer in reversed(range(len(weights))):
            below = with_extra_unit(y[layer], bias)
            for i in range(len(below)):
                for j in range(len(signal)):
                    gradient[layer][i][j] += dE_dw(signal[j], below[i])
            signal = [dE_dx(dE_dy_below(signal, weights[layer], i), y[layer][i]) for i in range(len(y[layer]))]
    return error(outputs, desired), gradient


def descend(weights, cases, rate, momentum, sweeps, bias=True):
    """Change the weights by eq. (9) after each sweep; with momentum 0 that is eq. (8)."""
    previous = zeros_like(weights)
    for _ in range(sweeps):
        _, gradient = loss_and_gradient(weights, cases, bias)
        weights = [[list(row) for row in block] for block in weights]
        for layer, i, j in places(weights):
            previous[layer][i][j] = change_with_momentum(gradient[layer][i][j], previous[layer][i][j], rate, momentum)
            weights[layer][i][j] += previous[layer][i][j]
    return weights


def places(weights):
    return [
        (layer, i, j)
        for layer in range(len(weights))
        for i in range(len(weights[layer]))
        for j in range(len(weights[layer][i]))
    ]


def zeros_like(weights):
    return [[[0.0 for _ in row] for row in block] for block in weights]
