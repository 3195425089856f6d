"""Dense and adversarial inputs: every exponent, subnormal numbers, saturation, kinks, and pairs that nearly cancel."""

import numpy as np

# where derivatives saturate, exponentials over- or underflow, and gelu's tanh is flat
SPECIAL = (18.7, 10.0, 9.01, 19.4, 16.7, 17.4, 36.8, 87.3, 88.0, 88.72, 103.9, 104.0, 707.0, 708.5, 709.7, 745.1)


def exponents(dtype, generator, size=1.0, low=None, high=None):
    """Draw positive numbers with every exponent, from the smallest subnormal number on unless ``low`` says otherwise.

    With a ``size`` below 1 exponents are left out.
    """
    info = np.finfo(dtype)
    low, high = info.minexp - info.nmant if low is None else low, info.maxexp if high is None else high
    n = (high - low) * size * (8 if dtype == "float32" else 1)
    powers = np.linspace(low, high, max(16, round(n)), endpoint=False).astype(int)
    return np.ldexp(generator.uniform(1.0, 2.0, len(powers)), powers).astype(dtype)


def numbers(dtype, size=1.0, seed=0):
    """Draw numbers of both signs for a function of one; ``size`` scales how many there are."""
    generator, info = np.random.default_rng(seed), np.finfo(dtype)
    drawn = exponents(dtype, generator, size)
    n = int(1500 * size)
    widest = 1.1 * -np.log(float(info.smallest_subnormal))
    kinks = np.asarray([0.0, info.smallest_subnormal, info.smallest_normal, info.max, *SPECIAL, 1.0, 0.5], dtype)
    with np.errstate(over="ignore"):
        beside = [np.nextafter(kinks, dtype_of(to, dtype)) for to in (0.0, np.inf)]
    positive = [drawn, kinks, *beside]
    positive += [generator.uniform(0.0, high, n).astype(dtype) for high in (1.0, 25.0, widest)]
    found = np.concatenate(positive)
    found = found[np.isfinite(found)]
    return np.unique(np.concatenate([found, -found]))


def elementary(dtype, size, name):
    """Draw numbers where an elementary function is defined and finite; more near 1 for logarithms."""
    x, near = numbers(dtype, size), np.random.default_rng(2).uniform(-1.0, 1.0, int(1500 * size))
    if name in ("sin", "cos"):
        return x[np.abs(x) < 1e5]
    if name in ("log", "log1p"):
        x = np.concatenate([x, (near + (name == "log")).astype(dtype)])
        return x[x > (0 if name == "log" else -1)]
    return x


def dtype_of(number, dtype):
    return np.asarray(number, dtype)[()]


def pairs(dtype, size=1.0, seed=0, *, width=None, high=None):
    """Draw outputs and targets: of any exponents, of equal ones, and nearly equal, also but for a ``width``.

    Parameters
    ----------
    high : int, optional
        The exponent that numbers stay below.
    """
    generator, eps = np.random.default_rng(seed), float(np.finfo(dtype).eps)
    y = exponents(dtype, generator, size, high=high)
    y = y * signs(generator, dtype, len(y))
    n = int(1000 * size)
    near = generator.normal(0.0, 2.0, n).astype(dtype)
    steps = generator.integers(-40, 41, n) * eps
    both = [
        (y, generator.permutation(y)),
        (y, y * dtype_of(1 + 3 * eps, dtype)),
        (y, np.zeros_like(y)),
        (np.zeros_like(near), near),
        (near, generator.normal(0.0, 2.0, n)),
        (near, near * (1 + steps)),
        (near, near * (1 + generator.normal(0.0, 1e-3, n))),
    ]
    for w in () if width is None else (width, -width):
        both.append((near, (near.astype(float) - w) * (1 + steps)))
    first, second = (np.concatenate([np.asarray(part, dtype) for part in parts]) for parts in zip(*both, strict=True))
    return first, second


def signs(generator, dtype, n):
    return generator.choice([-1.0, 1.0], n).astype(dtype)


def probabilities(dtype, size=1.0, seed=0):
    """Draw outputs between 0 and 1, close to both as well, and targets from 0 to 1."""
    generator, info = np.random.default_rng(seed), np.finfo(dtype)
    n = int(700 * size)
    small = exponents(dtype, generator, size, low=info.minexp, high=-1)
    y = np.concatenate([small, 1.0 - small[small > info.eps / 2], generator.uniform(0.0, 1.0, n)]).astype(dtype)
    y = y[(y > 0) & (y < 1)]
    targets = generator.choice([0.0, 1.0, np.nan], len(y))
    targets = np.where(np.isnan(targets), generator.uniform(0.0, 1.0, len(y)), targets)
    return np.concatenate([y, y]), np.concatenate([targets, y * (1 + 8 * info.eps)]).clip(0, 1).astype(dtype)


def counts(dtype, size=1.0, seed=0):
    """Draw outputs above 0, and targets that are 0 or above, some nearly equal."""
    y, targets = pairs(dtype, size, seed, high=60)
    smallest = np.finfo(dtype).smallest_normal
    y, targets = np.append(np.abs(y), [smallest, 2 * smallest]), np.append(np.abs(targets), [1e3, 29.0]).astype(dtype)
    keep = y >= smallest
    return y[keep].astype(dtype), targets[keep]


def total_inputs(dtype, size=1.0, seed=0, *, highest_target):
    """Draw total inputs of a logistic function or an exponential, and targets, 0 and 1 among them."""
    generator, x = np.random.default_rng(seed), numbers(dtype, size, seed)
    x = x[np.abs(x) < (100.0 if dtype == "float32" else 750.0)]
    targets = generator.choice([0.0, 1.0, np.nan], len(x))
    targets = np.where(np.isnan(targets), generator.uniform(0.0, highest_target, len(x)), targets)
    near = generator.normal(0.0, 2.0, int(700 * size))
    nearly = np.exp(near) * (1 + generator.integers(-30, 31, len(near)) * 2.0 ** generator.integers(-45, -4, len(near)))
    if highest_target <= 1:
        nearly = 1.0 / (1.0 + np.exp(-near))
    targets = np.concatenate([targets, np.minimum(nearly, highest_target)])
    return np.concatenate([x, near.astype(dtype)]).astype(dtype), targets.astype(dtype)


def samples(dtype, size=1.0, seed=0, n_outputs=3):
    """Draw total inputs of a softmax, a tuple of one array for each unit: of all scales, equal, far apart."""
    generator = np.random.default_rng(seed)
    n = int(600 * size)
    scales = np.repeat(np.ldexp(1.0, np.arange(-20, 7)), max(1, n // 27))[:, None]
    x = generator.normal(size=(len(scales), n_outputs)) * scales
    shifted = x + generator.choice([0.0, 30.0, -500.0], (len(x), 1))
    return tuple(np.concatenate([x, shifted]).astype(dtype).T)


def gradients(dtype, size=1.0, seed=0, *, norm):
    """Draw gradients of three numbers: of any exponents, also far apart, and about as long as a norm."""
    generator, info = np.random.default_rng(seed), np.finfo(dtype)
    scales = exponents(dtype, generator, size, info.minexp + 40, info.maxexp - 40)
    apart = np.ldexp(generator.normal(size=(len(scales), 3)), generator.integers(-30, 31, (len(scales), 3)))
    near = generator.normal(size=(int(1000 * size) + 16, 3))
    near *= (
        norm
        / np.linalg.norm(near, axis=1, keepdims=True)
        * (1 + generator.integers(-30, 31, (len(near), 1)) * info.eps)
    )
    drawn = [scales[:, None] * generator.normal(size=(len(scales), 3)), scales[:, None] * apart, near]
    return tuple(np.ascontiguousarray(np.concatenate(drawn).astype(dtype).T))


def weights(dtype, n_arrays, size=1.0, seed=0, *, squares):
    """Draw weights, half of them 0, gradients, and arrays of the state.

    Parameters
    ----------
    squares : bool
        Whether the last array of the state holds squares, and the squares of gradients are computed; these then neither
        over- nor underflow.
    """
    generator, info = np.random.default_rng(seed), np.finfo(dtype)
    low, high = (info.minexp // 2 + 8, info.maxexp // 2 - 4) if squares else (info.minexp + 8, info.maxexp - 4)
    gradient = exponents(dtype, generator, size, low, high)
    n = len(gradient)
    near = np.ldexp(generator.uniform(1.0, 2.0, (n_arrays, n)), generator.integers(-3, 4, (n_arrays, n)))
    arrays = [gradient * signs(generator, dtype, n)]
    arrays += [(gradient * part * signs(generator, dtype, n)).astype(dtype) for part in near]
    if squares:
        arrays[-1] = arrays[-1] ** 2
    theta = np.where(generator.uniform(size=n) < 0.5, 0.0, generator.normal(size=n) * gradient).astype(dtype)
    return theta, *arrays
