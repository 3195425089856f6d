"""Equations traced with symbols and translated into C."""

import numpy as np
import pytest

from gpubp.engine.tracing import symbols
from gpubp.engine.tracing.expressions import Code
from gpubp.engine.tracing.symbols import Inexpressible, setting, variable
from gpubp.nn import equations
from gpubp.nn.activations import get_activation


def text_of(equation, *names, **options):
    code = Code("float32", {name: f"{name}[i]" for name in names})
    result = equation(symbols, *(variable(name, "float32") for name in names), **options)
    return code.statements(result=result).splitlines()


class TestExpressions:
    def test_an_equation_in_c(self):
        assert text_of(equations.logistic_dE_dx, "dE_dy", "y") == [
            "const real dE_dy = dE_dy[i];",
            "const real y = y[i];",
            "const real result = ((dE_dy * y) * (1.0f - y));",
        ]

    def test_common_subexpressions_are_computed_once(self):
        text = "\n".join(text_of(equations.logistic, "x"))
        assert text.count("expf(") == 1
        assert text.count("1.0f / ") == 1

    @pytest.mark.parametrize(("name", "read"), [("relu", "y"), ("softplus", "x")])
    def test_only_needed_variables_are_read(self, name, read):
        text = text_of(get_activation(name).dE_dx, "dE_dy", "x", "y")
        assert sorted(line for line in text if "[i]" in line) == [
            "const real dE_dy = dE_dy[i];",
            f"const real {read} = {read}[i];",
        ]

    def test_host_numbers_are_combined_on_the_host(self):
        code = Code("float64", {"g": "g[i]"})
        rate, beta, g = setting("rate"), setting("beta"), variable("g", "float64")
        text = code.statements(result=-rate * g + (1.0 - beta**2) * g + rate * g)
        assert text.count("settings[") == 3
        assert [number.text for number in code.settings] == ["(-rate)", "(1.0 - (beta ** 2.0))", "rate"]
        assert [number.evaluate({"rate": 0.5, "beta": 0.5}) for number in code.settings] == [-0.5, 0.75, 0.5]

    @pytest.mark.parametrize(
        "use",
        [
            bool,
            float,
            lambda x: x == 0.0,
            lambda x: x**0.5,
            lambda x: x[0],
            lambda x: np.ones(2) * x,
            lambda x: symbols.exp([x]),
            lambda x: symbols.sum(x, axis=0),
            lambda x: symbols.cumsum(x),
            lambda x: Code("float32", {"x": "x"}).statements(result=symbols.sum(x, axis=-1)),
            lambda x: Code("float32", {"x": "x"}).statements(result=x * float("inf")),
        ],
    )
    def test_unsupported_operations_on_symbols(self, use):
        with pytest.raises((Inexpressible, TypeError)):
            use(variable("x", "float32"))

    @pytest.mark.parametrize("use", [bool, float, lambda a: a == 0.0, lambda a: a < 0.0, lambda a: [a] * a])
    def test_unsupported_operations_on_host_numbers(self, use):
        with pytest.raises((Inexpressible, TypeError)):
            use(setting("rate"))
