"""The formulas as printed in the papers, for one number at a time, in any precision of mpmath.

They are as plain as those of tests/reference.py: no form is chosen because it loses fewer digits. The caller sets a
precision at which none are lost. Arguments are numbers of mpmath.
"""

import mpmath

mp = mpmath.mp


def _exp(x):
    """exp(x), of huge whole numbers in fewer digits: mpmath would raise e to that power, which takes long."""
    with mp.workprec(min(mp.prec, 500) if abs(x) > 10_000 else mp.prec):
        return mp.exp(x)


# --- functions of every array library ---


def expm1(x):
    return _exp(x) - 1


def log1p(x):
    return mp.log(1 + x)


ELEMENTARY = {
    "exp": _exp,
    "expm1": expm1,
    "log": mp.log,
    "log1p": log1p,
    "tanh": mp.tanh,
    "sin": mp.sin,
    "cos": mp.cos,
}

# --- activations and their derivatives dy/dx ---


def logistic(x):
    """Eq. (2)."""
    return 1 / (1 + _exp(-x))


def logistic_slope(x):
    """Eq. (5): y (1 - y)."""
    return logistic(x) * (1 - logistic(x))


def tanh(x):
    return mp.tanh(x)


def tanh_slope(x):
    return 1 - mp.tanh(x) ** 2


def identity(x):
    return x


def identity_slope(x):
    return mp.mpf(1)


def relu(x):
    return x if x > 0 else mp.mpf(0)


def relu_slope(x):
    return mp.mpf(1 if x > 0 else 0)


def leaky_relu(x, slope):
    return x if x > 0 else slope * x


def leaky_relu_slope(x, slope):
    return mp.mpf(1) if x > 0 else slope


def elu(x, alpha):
    return x if x > 0 else alpha * (_exp(x) - 1)


def elu_slope(x, alpha):
    return mp.mpf(1) if x > 0 else alpha * _exp(x)


SELU_ALPHA, SELU_SCALE = mp.mpf(1.6732632423543772), mp.mpf(1.0507009873554805)


def selu(x):
    return SELU_SCALE * elu(x, SELU_ALPHA)


def selu_slope(x):
    return SELU_SCALE * elu_slope(x, SELU_ALPHA)


def softplus(x):
    return mp.log(1 + _exp(x))


def softplus_slope(x):
    return logistic(x)


def silu(x):
    return x * logistic(x)


def silu_slope(x):
    return logistic(x) + x * logistic_slope(x)


def _gelu_u(x):
    return mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)


def gelu(x):
    """Hendrycks & Gimpel's tanh form."""
    return x / 2 * (1 + mp.tanh(_gelu_u(x)))


def gelu_slope(x):
    du_dx = mp.sqrt(2 / mp.pi) * (1 + 3 * mp.mpf("0.044715") * x**2)
    return (1 + mp.tanh(_gelu_u(x))) / 2 + x / 2 * tanh_slope(_gelu_u(x)) * du_dx


def mish(x):
    return x * mp.tanh(softplus(x))


def mish_slope(x):
    return mp.tanh(softplus(x)) + x * tanh_slope(softplus(x)) * logistic(x)


def cosine(x):
    return mp.cos(x)


def cosine_slope(x):
    return -mp.sin(x)


def exp(x):
    return _exp(x)


def softmax(*x):
    """The first output of a softmax."""
    return _exp(x[0]) / mp.fsum(map(_exp, x))


def softmax_slope(*x_and_dE_dy):
    """The derivative at the first total input: y_0 (dE/dy_0 - sum over k of y_k dE/dy_k)."""
    n = len(x_and_dE_dy) // 2
    x, dE_dy = x_and_dE_dy[:n], x_and_dE_dy[n:]
    e = [_exp(x_k) for x_k in x]
    y = [e_k / mp.fsum(e) for e_k in e]
    return y[0] * (dE_dy[0] - mp.fdot(y, dE_dy))


SLOPES = {
    "identity": (identity, identity_slope),
    "logistic": (logistic, logistic_slope),
    "tanh": (tanh, tanh_slope),
    "relu": (relu, relu_slope),
    "leaky_relu": (leaky_relu, leaky_relu_slope),
    "elu": (elu, elu_slope),
    "selu": (selu, selu_slope),
    "softplus": (softplus, softplus_slope),
    "silu": (silu, silu_slope),
    "gelu": (gelu, gelu_slope),
    "mish": (mish, mish_slope),
    "cosine": (cosine, cosine_slope),
    "exp": (exp, exp),
}
"""Each activation of one number, and its derivative."""


# --- losses and their derivatives by y, or at total inputs by x ---


def squared(y, target):
    """Eq. (3)."""
    return (y - target) ** 2 / 2


def difference(y, target):
    """Eq. (4)."""
    return y - target


def _times_log(target, y):
    return target * mp.log(y) if target != 0 else mp.mpf(0)


def cross_entropy(y, target):
    return -_times_log(target, y)


def cross_entropy_slope(y, target):
    return -target / y


def cross_entropy_of_softmax(*x_and_targets):
    """The loss of the first output."""
    n = len(x_and_targets) // 2
    return -_times_log(x_and_targets[n], softmax(*x_and_targets[:n]))


def cross_entropy_of_softmax_slope(*x_and_targets):
    n = len(x_and_targets) // 2
    return softmax(*x_and_targets[:n]) * mp.fsum(x_and_targets[n:]) - x_and_targets[n]


def binary_cross_entropy(y, target):
    return -_times_log(target, y) - _times_log(1 - target, 1 - y)


def binary_cross_entropy_slope(y, target):
    return -target / y + (1 - target) / (1 - y)


def binary_cross_entropy_of_logistic(x, target):
    return softplus(x) - target * x


def binary_cross_entropy_of_logistic_slope(x, target):
    return logistic(x) - target


def poisson(y, target):
    return y - target - _times_log(target, y) + _times_log(target, target)


def poisson_slope(y, target):
    return 1 - target / y


def poisson_of_exp(x, target):
    return _exp(x) - target - target * x + _times_log(target, target)


def poisson_of_exp_slope(x, target):
    return _exp(x) - target


def absolute(y, target):
    return abs(y - target)


def absolute_slope(y, target):
    return mp.sign(y - target)


def huber(y, target, width):
    r = abs(y - target)
    return r**2 / 2 if r <= width else width * (r - width / 2)


def huber_slope(y, target, width):
    return max(min(y - target, width), -width)


def log_cosh(y, target):
    return mp.log((_exp(y - target) + _exp(target - y)) / 2)


def log_cosh_slope(y, target):
    return mp.tanh(y - target)


def dead_zone(y, target, width):
    return mp.mpf(0) if abs(y - target) < width else ((y - target) ** 2 - width**2) / 2


def dead_zone_slope(y, target, width):
    return mp.mpf(0) if abs(y - target) < width else y - target


def quantile(y, target, q):
    return (1 - q) * (y - target) if y > target else q * (target - y)


def quantile_slope(y, target, q):
    return mp.mpf(0) if y == target else 1 - q if y > target else -q


LOSSES = {
    "squared": (squared, difference),
    "cross_entropy": (cross_entropy, cross_entropy_slope),
    "binary_cross_entropy": (binary_cross_entropy, binary_cross_entropy_slope),
    "poisson": (poisson, poisson_slope),
    "absolute": (absolute, absolute_slope),
    "huber": (huber, huber_slope),
    "log_cosh": (log_cosh, log_cosh_slope),
    "dead_zone": (dead_zone, dead_zone_slope),
    "quantile": (quantile, quantile_slope),
}
"""Each loss of an output, and its derivative."""

LOSSES_AT_TOTAL_INPUTS = {
    "cross_entropy": (cross_entropy_of_softmax, cross_entropy_of_softmax_slope),
    "binary_cross_entropy": (binary_cross_entropy_of_logistic, binary_cross_entropy_of_logistic_slope),
    "poisson": (poisson_of_exp, poisson_of_exp_slope),
}


# --- optimizers: the new weight, and the new state, from the weight w, its gradient g, the state and the settings ---


def gradient_descent(w, g, rate):
    """Eq. (8)."""
    return (w - rate * g,)


def momentum(w, g, previous, rate, alpha):
    """Eq. (9)."""
    change = -rate * g + alpha * previous
    return w + change, change


def nesterov(w, g, previous, rate, alpha):
    velocity = -rate * g + alpha * previous
    return w + alpha * velocity - rate * g, velocity


def _adam(g, m, v, t, rate, beta_1, beta_2, epsilon):
    m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
    rate = rate * mp.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    return -rate * m / (mp.sqrt(v) + epsilon), m, v


def adam(w, g, m, v, t, rate, beta_1, beta_2, epsilon):
    change, m, v = _adam(g, m, v, t, rate, beta_1, beta_2, epsilon)
    return w + change, m, v


def adamw(w, g, m, v, t, rate, beta_1, beta_2, epsilon, decay):
    change, m, v = _adam(g, m, v, t, rate, beta_1, beta_2, epsilon)
    return w + change - rate * decay * w, m, v


def rmsprop(w, g, v, rate, rho, epsilon):
    v = rho * v + (1 - rho) * g**2
    return w - rate * g / (mp.sqrt(v) + epsilon), v


def adagrad(w, g, s, rate, epsilon):
    s = s + g**2
    return w - rate * g / (mp.sqrt(s) + epsilon), s


def lion(w, g, m, rate, beta_1, beta_2, decay):
    direction = mp.sign(beta_1 * m + (1 - beta_1) * g)
    return w - rate * (direction + decay * w), beta_2 * m + (1 - beta_2) * g


def decayed_momentum(w, g, previous, rate, alpha, shrinkage):
    w, _ = momentum(w, g, previous, rate, alpha)
    return ((1 - shrinkage) * w,)


def rate_scaled_momentum(w, g, previous, factor, rate, alpha):
    return (w + factor * (-rate * g + alpha * previous),)


def decay_scaled_adamw(w, g, m, v, factor, t, rate, beta_1, beta_2, epsilon, decay):
    return (adamw(w, g, m, v, t, rate, beta_1, beta_2, epsilon, factor * decay)[0],)


def clipped(*gradient_and_norm):
    """The first derivative of a gradient that is limited to a norm."""
    *g, most = gradient_and_norm
    norm = mp.sqrt(mp.fdot(g, g))
    return g[0] * min(1, most / norm) if norm else g[0]


def smooth_clip(x, limit):
    return x / mp.sqrt(1 + (x / limit) ** 2)


OPTIMIZERS = {f.__name__: f for f in (gradient_descent, momentum, nesterov, adam, adamw, rmsprop, adagrad, lion)}
