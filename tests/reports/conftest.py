"""Fixtures of the commands, for the reports that they write."""

from tests.cli.conftest import fails as fails
