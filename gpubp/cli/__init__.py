"""The command line: the only rooms that know a screen."""
