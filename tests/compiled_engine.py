"""Tests that need the compiled engine, and tests that run with it and without."""

import pytest

from gpubp.engine import cpu

needs_engine = pytest.mark.skipif(bool(cpu.why_not()), reason=f"needs the compiled engine: {cpu.why_not()}")
FORMS = ["never", pytest.param("always", marks=needs_engine)]
