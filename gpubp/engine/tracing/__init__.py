"""Tracing of equations with symbols, and translation into C."""
