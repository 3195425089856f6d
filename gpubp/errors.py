"""The exceptions of gpubp: few, and each also a built-in one, so that callers need not import them."""


class GpubpError(Exception):
    """Base of every error that gpubp raises on purpose."""


class DataError(GpubpError, ValueError):
    """The input is not what the function takes: shape, type, value, or a file that cannot be read."""


class DeviceError(GpubpError, RuntimeError):
    """The device asked for cannot be used; the message names the cause and the mend."""


class ModelFileError(GpubpError, ValueError):
    """A model file is truncated, corrupted, foreign, or from a version that this one cannot read."""


class DivergenceWarning(UserWarning):
    """Training left the finite numbers; the last good parameters were kept."""
