"""Data larger than memory: read block by block, shuffled in windows, the next window read while one is trained on."""

from gpubp.data.streaming.stream import MEMORY, Mixing, Stream, open_stream

__all__ = ["MEMORY", "Mixing", "Stream", "open_stream"]
