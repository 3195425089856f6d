"""Data larger than memory: read in blocks, shuffled in windows; the next window is read while the current one is used.

A source yields rows of X and targets in blocks: ``_npy_source.py``, ``_array_source.py`` for zarr and h5py,
``_iterable_source.py``, and ``_column_source.py`` for tables. ``_shuffle_windows.py`` draws the order of the blocks and
fills windows with their rows, ``_prefetch.py`` fills the next one on a thread, and ``_stream_epoch.py`` passes
each to the training loop as a part of an epoch. ``prepared_stream.py`` reads a table through a fitted preprocessing.
"""

from gpubp.data.streaming.stream import DEFAULT_MEMORY, Mixing, Stream, open_stream

__all__ = ["DEFAULT_MEMORY", "Mixing", "Stream", "open_stream"]
