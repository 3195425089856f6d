"""The training step in plain equations, for any array library."""
