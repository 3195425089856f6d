"""A file or standard input as the readers see it: its name for messages, its bytes, unpacked if it is compressed."""

import bz2
import gzip
import io
import lzma
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from gpubp._core.files import open_regular
from gpubp._core.text import excerpt, shortened
from gpubp.data._arrow import import_pyarrow
from gpubp.data._limits import check_unpacked_size, max_unpacked_size
from gpubp.errors import DataError

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zip", ".zst")
"""Suffixes of compressed files; any format may be in one."""

_MAGIC = (
    (b"\x1f\x8b", ".gz"),
    (b"BZh", ".bz2"),
    (b"\xfd7zXZ\0", ".xz"),
    (b"PK\3\4", ".zip"),
    (b"\x28\xb5\x2f\xfd", ".zst"),
)


@dataclass(frozen=True)
class InputFile:
    """The bytes of a table.

    Attributes
    ----------
    path : Path
        The file; for standard input its name in messages.
    part : str, optional
        The name of a table of a database, or of a sheet.
    content : bytes, optional
        The bytes, if they do not come from the file as it is.
    compression : str
        One of COMPRESSIONS, or "".
    """

    path: Path
    part: str | None = None
    content: bytes | None = None
    compression: str = ""

    @property
    def name(self) -> str:
        """The name for messages."""
        return str(self.path) + (f"::{self.part}" if self.part else "")

    @property
    def packed_size(self) -> int:
        """The number of bytes before they are unpacked."""
        return self.path.stat().st_size if self.content is None else len(self.content)

    def open_packed(self) -> BinaryIO:
        """Open the bytes as they are stored."""
        return open_regular(self.path) if self.content is None else io.BytesIO(self.content)

    def open(self) -> BinaryIO:
        """Open the bytes, unpacked and counted if they are compressed."""
        file = self.open_packed()
        return cast(BinaryIO, _UnpackedBytes(file, self)) if self.compression else file

    def unpacked(self) -> "InputFile":
        """Return this source with its bytes unpacked in memory, if it is compressed."""
        if not self.compression:
            return self
        with self.open() as file:
            return InputFile(self.path, self.part, file.read())

    def check_size(self, n_bytes: int, fix: str = "if it can be trusted, unpack it and use that file") -> None:
        """Raise a DataError if the source expands to `n_bytes`, far more than real tables do."""
        check_unpacked_size(self.name, self.packed_size, n_bytes, fix)


def compression_of(start: bytes) -> str:
    """Return the compression that the first bytes of a file show, or "".

    Examples
    --------
    >>> import gzip
    >>> compression_of(gzip.compress(b"a,b"))
    '.gz'
    """
    return next((suffix for magic, suffix in _MAGIC if start.startswith(magic)), "")


def zip_member(source: InputFile) -> zipfile.ZipInfo:
    """Return the only file in a zip archive."""
    with source.open_packed() as file, zipfile.ZipFile(file) as archive:
        members = [info for info in archive.infolist() if not info.is_dir() and not _is_hidden(info.filename)]
    if len(members) != 1:
        names = excerpt(shortened([info.filename for info in members]), 200) or "none"
        raise DataError(f"{source.name} must hold one file, got {len(members)}: {names}; unpack the one with the table")
    return members[0]


def _is_hidden(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")


def _unpack(file: BinaryIO, source: InputFile) -> Any:
    if source.compression == ".gz":
        return gzip.GzipFile(fileobj=file)
    if source.compression == ".bz2":
        return bz2.BZ2File(file)
    if source.compression == ".xz":
        return lzma.LZMAFile(file)
    if source.compression == ".zip":
        member = zip_member(source)
        if member.flag_bits & 1:
            raise DataError(f"{source.name} is encrypted; unpack it and use that file")
        return zipfile.ZipFile(file).open(member)
    lib = import_pyarrow("lib", source.path)
    return lib.CompressedInputStream(lib.PythonFile(file, mode="r"), "zstd")


class _UnpackedBytes(io.RawIOBase):
    """Unpacked bytes, refused if they are far more than the size of the file suggests."""

    def __init__(self, packed: BinaryIO, source: InputFile) -> None:
        self._packed, self._source, self._n_bytes, self._file = packed, source, 0, None
        try:
            self._file = _unpack(packed, source)
        except BaseException:
            packed.close()
            raise
        self._limit = max_unpacked_size(source.packed_size)

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        # one byte too many is enough to know
        size = -1 if size is None else size
        block: bytes = cast(Any, self._file).read(self._limit - self._n_bytes + 1 if size < 0 else size)
        self._n_bytes += len(block)
        self._source.check_size(self._n_bytes)
        return block

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._packed.close()
        super().close()
