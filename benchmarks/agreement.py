"""Whether a contender did the same work: its loss curve beside one in float64. Without that its time counts nothing."""

import math

from gpubp.testing import TOLERANCES


def disagreement(facts, reference, dtype, matmul="float32"):
    """Tell where a contender leaves the reference, or give nothing where it does not.

    Parameters
    ----------
    facts, reference : dict
        With ``"curve"``, the mean loss of each epoch (or, of a prediction, the outputs), and of a fit ``"accuracy"``.
    dtype : str
        What the contender computes in; the tolerances are the library's own.
    matmul : str
        What its matrix products round to, as ``matmul_precision`` has it.
    """
    kind = "fit" if matmul == "float32" else f"steps {matmul}"
    curve, expected, tolerance = facts["curve"], reference["curve"], TOLERANCES[kind, dtype]
    if len(curve) != len(expected):
        return f"a loss curve of {len(curve)} values, not {len(expected)}"
    for at, (a, e) in enumerate(zip(curve, expected, strict=True)):
        if not abs(a - e) <= tolerance.atol + tolerance.rtol * abs(e):  # what is no number fails as well
            return f"leaves the reference at value {at + 1} of {len(curve)}: {a:.6g}, not {e:.6g}"
    if "accuracy" in reference:
        p = reference["accuracy"]
        # two standard errors of a share of so many samples
        if abs(facts["accuracy"] - p) > 2 * math.sqrt(p * (1 - p) / reference["tested"]):
            return f"accuracy {facts['accuracy']:.4f}, not {p:.4f}"
    return None
