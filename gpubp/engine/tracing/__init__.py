"""Equations traced with symbols, and written as statements of C."""
