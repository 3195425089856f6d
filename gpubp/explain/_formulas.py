"""The formulas of each activation and loss, in the paper's letters."""

from typing import NamedTuple


class ErrorFormulas(NamedTuple):
    """The formulas of an error: its value, and its derivatives at the outputs and at the total inputs.

    The last one, if there is one, is for outputs of the activation that belongs to the error.
    """

    value: str
    slope: str
    at_total: str = ""


ERRORS = {
    "squared": ErrorFormulas("E = ½ Σ (yⱼ − dⱼ)²", "∂E/∂yⱼ = yⱼ − dⱼ"),
    "cross_entropy": ErrorFormulas(
        "E = −Σ dⱼ log yⱼ", "∂E/∂yⱼ = −dⱼ / yⱼ", "∂E/∂xⱼ = Σₖ ∂E/∂yₖ · ∂yₖ/∂xⱼ = yⱼ Σₖ dₖ − dⱼ"
    ),
    "binary_cross_entropy": ErrorFormulas(
        "E = −Σ (dⱼ log yⱼ + (1 − dⱼ) log(1 − yⱼ))",
        "∂E/∂yⱼ = (1 − dⱼ) / (1 − yⱼ) − dⱼ / yⱼ",
        "∂E/∂xⱼ = ∂E/∂yⱼ · dyⱼ/dxⱼ = yⱼ − dⱼ",
    ),
    "poisson": ErrorFormulas(
        "E = Σ (yⱼ − dⱼ log yⱼ + dⱼ log dⱼ − dⱼ)",
        "∂E/∂yⱼ = 1 − dⱼ / yⱼ",
        "∂E/∂xⱼ = ∂E/∂yⱼ · dyⱼ/dxⱼ = yⱼ − dⱼ",
    ),
    "absolute": ErrorFormulas("E = Σ |yⱼ − dⱼ|", "∂E/∂yⱼ = sign(yⱼ − dⱼ)"),
    "huber": ErrorFormulas("E = Σ ½ (yⱼ − dⱼ)², straight beyond the width", "∂E/∂yⱼ = yⱼ − dⱼ, within the width"),
    "log_cosh": ErrorFormulas("E = Σ log cosh(yⱼ − dⱼ)", "∂E/∂yⱼ = tanh(yⱼ − dⱼ)"),
    "dead_zone": ErrorFormulas(
        "E = Σ ½ ((yⱼ − dⱼ)² − width²), and 0 within the width", "∂E/∂yⱼ = yⱼ − dⱼ, and 0 within the width"
    ),
    "quantile": ErrorFormulas(
        "E = Σ max((1 − q)(yⱼ − dⱼ), q (dⱼ − yⱼ))", "∂E/∂yⱼ = 1 − q where yⱼ > dⱼ, −q where yⱼ < dⱼ"
    ),
}
"""Of each error."""

VALUES = {
    "identity": "xⱼ",
    "logistic": "1 / (1 + exp(−xⱼ))",
    "tanh": "tanh xⱼ",
    "relu": "max(0, xⱼ)",
    "leaky_relu": "xⱼ where above 0, else slope · xⱼ",
    "elu": "xⱼ where above 0, else α (exp(xⱼ) − 1)",
    "selu": "1.0507 xⱼ where above 0, else 1.7581 (exp(xⱼ) − 1)",
    "softplus": "log(1 + exp(xⱼ))",
    "silu": "xⱼ / (1 + exp(−xⱼ))",
    "gelu": "½ xⱼ (1 + tanh(√(2/π) (xⱼ + 0.044715 xⱼ³)))",
    "mish": "xⱼ tanh(log(1 + exp(xⱼ)))",
    "cosine": "cos xⱼ",
    "exp": "exp(xⱼ)",
    "softmax": "exp(xⱼ) / (Σₖ exp(xₖ))",
}
"""Of each activation: its value."""

SLOPES = {
    "identity": "1",
    "logistic": "yⱼ (1 − yⱼ)",
    "tanh": "(1 − yⱼ²)",
    "relu": "(1 where xⱼ > 0, else 0)",
    "leaky_relu": "(1 where xⱼ > 0, else slope)",
    "elu": "(1 where xⱼ > 0, else yⱼ + α)",
    "selu": "(1.0507 where xⱼ > 0, else 1.7581 exp(xⱼ))",
    "softplus": "logistic(xⱼ)",
    "silu": "(s + yⱼ (1 − s)), s = logistic(xⱼ)",
    "gelu": "gelu′(xⱼ)",
    "mish": "(t + xⱼ (1 − t²) logistic(xⱼ)), t = tanh(log(1 + exp(xⱼ)))",
    "cosine": "(−sin xⱼ)",
    "exp": "yⱼ",
}
"""Of each activation: its derivative."""
