"""Check that a contender did the same work: its loss curve must agree with one in float64, or its time is ignored."""

import math

from gpubp.testing import TOLERANCES


def disagreement(facts, reference, dtype, matmul="float32"):
    """Describe where a contender deviates from the reference; return None if it does not.

    Parameters
    ----------
    facts, reference : dict
        With ``"curve"``, the mean loss of each epoch (or the outputs of a prediction), and ``"accuracy"`` for a fit.
    dtype : str
        The contender's precision; the tolerances are the library's own.
    matmul : str
        The precision of its matrix products, a value of ``matmul_precision``.
    """
    kind = "fit" if matmul == "float32" else f"steps {matmul}"
    curve, expected, tolerance = facts["curve"], reference["curve"], TOLERANCES[kind, dtype]
    if len(curve) != len(expected):
        return f"a loss curve of {len(curve)} values, not {len(expected)}"
    for at, (a, e) in enumerate(zip(curve, expected, strict=True)):
        if not abs(a - e) <= tolerance.atol + tolerance.rtol * abs(e):  # NaN fails too
            return f"deviates from the reference at value {at + 1} of {len(curve)}: {a:.6g}, not {e:.6g}"
    if "accuracy" in reference:
        p = reference["accuracy"]
        # two standard errors of a fraction of this many samples
        if abs(facts["accuracy"] - p) > 2 * math.sqrt(p * (1 - p) / reference["tested"]):
            return f"accuracy {facts['accuracy']:.4f}, not {p:.4f}"
    return None
