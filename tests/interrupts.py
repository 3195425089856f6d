"""Ctrl-C: functions and callbacks that raise KeyboardInterrupt."""


def interrupt(*arguments, **options):
    raise KeyboardInterrupt


def interrupt_epoch(number):
    """Return a callback that raises after an epoch."""

    def callback(progress):
        if progress.epoch == number:
            raise KeyboardInterrupt

    return callback


def interrupt_call(number, function=lambda *arguments: None):
    """Return a function that raises when it is called for the given time, and calls another one before."""
    calls = []

    def called(*arguments):
        calls.append(arguments)
        if len(calls) == number:
            raise KeyboardInterrupt
        return function(*arguments)

    return called
