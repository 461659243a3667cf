"""Open text files: compressed or plain, in UTF-8, UTF-16 or a named encoding.

Knows nothing of what is in them.
"""

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, Final

from fedsafe.errors import DataError, reason_of

OPENERS: Final[Mapping[bytes, Callable[..., Any]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
"""How a file that begins so is decompressed."""
PACKED: Final = {b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf": "7z"}
BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
DAMAGED: Final = (OSError, EOFError, zlib.error, lzma.LZMAError)
COMPRESSED: Final = frozenset({".gz", ".bz2", ".xz"})


def check_file(path: Path) -> None:
    """Check that there is a file with something in it.

    Raises:
        DataError: There is not.
    """
    if not path.is_file():
        got = "a folder" if path.is_dir() else "nothing"
        raise DataError(
            f"{path}: expected a data file, got {got}. Relative paths start from {Path.cwd()}."
        )
    if not path.stat().st_size:
        raise DataError(f"{path}: the file is empty. Give one with examples.")


def suffix_of(path: Path) -> str:
    """Return a file's suffix in lower case, that of its compression left out."""
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() if last in COMPRESSED else last


@contextmanager
def text_lines(path: Path, encoding: str = "") -> Iterator[Iterator[str]]:
    """Open a text file, and yield its lines with their ends.

    Args:
        path: The file; gzip, bzip2 and xz are decompressed.
        encoding: Its encoding; empty: UTF-8, or what its first bytes say.

    Raises:
        DataError: It is missing, empty, damaged, or in another encoding; the message
            names the line.
    """
    check_file(path)
    with _opened(path) as file:
        wanted = _encoding(path, file, encoding)
        try:
            file.seek(0)
            text = TextIOWrapper(file, encoding=wanted, newline="")
            yield _lines(path, text, wanted)
        except DAMAGED as error:
            raise _damaged(path, error) from None


def unpacked(path: Path) -> bytes:
    """Return what is in a file, decompressed where it is compressed.

    Raises:
        DataError: It is missing, empty, damaged, or packed in another way.
    """
    check_file(path)
    with _opened(path) as file:
        try:
            return file.read()
        except DAMAGED as error:
            raise _damaged(path, error) from None


def _lines(path: Path, text: TextIOWrapper, encoding: str) -> Iterator[str]:
    number = 0
    try:
        for line in text:
            yield line
            number += 1
    except UnicodeDecodeError as error:
        raise _undecodable(path, encoding, error) from None
    except UnicodeError as error:  # what UTF-16 says of a missing byte order mark
        raise DataError(f"{path}: cannot be read as {encoding} ({error}).") from None
    except DAMAGED as error:
        raise _damaged(path, error, number) from None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as plain:
            first = plain.read(8)
            packed = next((name for magic, name in PACKED.items() if first.startswith(magic)), "")
            if packed:
                raise DataError(f"{path}: the file is packed with {packed}. Unpack it first.")
            plain.seek(0)
            opener = next((o for magic, o in OPENERS.items() if first.startswith(magic)), None)
            if opener is None:
                yield plain
                return
            with opener(plain, "rb") as file:
                yield file
    except PermissionError as error:
        raise DataError(f"{path}: the file cannot be read ({error.strerror}).") from None


def _encoding(path: Path, file: BinaryIO, given: str) -> str:
    """Return the codec of a file: the one given, or what its first bytes say."""
    if given:
        try:
            name = codecs.lookup(given).name
        except LookupError:
            raise DataError(
                f"{path}: '{given}' is no encoding. Use one such as utf-8, utf-16 or cp1252."
            ) from None
        return "utf-8-sig" if name == "utf-8" else name
    try:
        first = file.read(4)
    except DAMAGED as error:
        raise _damaged(path, error) from None
    for mark, name in BYTE_ORDER_MARKS:
        if first.startswith(mark):
            return name
    if len(first) == 4 and first[1] == first[3] == 0 != first[0]:
        return "utf-16-le"
    if len(first) == 4 and first[0] == first[2] == 0 != first[1]:
        return "utf-16-be"
    return "utf-8-sig"


def _damaged(path: Path, error: Exception, read: int = 0) -> DataError:
    """Say that a file is damaged; ``read``: how many lines could be read before."""
    reason = reason_of(error)
    where = f", after line {read}" if read else ""
    return DataError(f"{path}{where}: the file is damaged ({reason}). Copy it again.")


def _undecodable(path: Path, encoding: str, error: UnicodeDecodeError) -> DataError:
    """Name the first line that is not in an encoding, and what it may be in."""
    name = "UTF-8" if encoding.startswith("utf-8") else encoding
    number, looks = _first_undecodable(path, encoding)
    where = f", line {number}" if number else ""
    return DataError(
        f"{path}{where}: expected {name} text ({error.reason}).{looks} Name the encoding in the "
        "setting 'encoding', or convert the file to UTF-8."
    )


def _first_undecodable(path: Path, encoding: str) -> tuple[int, str]:
    """Return the first line that cannot be decoded, and what it may be in; 0: none was found."""
    with _opened(path) as file:
        if encoding.startswith("utf-8"):
            for number, line in enumerate(file, 1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return number, _looks_like(line)
            return 0, ""
        replaced = TextIOWrapper(file, encoding=encoding, errors="replace")
        lines = enumerate(replaced, 1)
        return next(
            (number for number, line in lines if "\N{REPLACEMENT CHARACTER}" in line), 0
        ), ""


def _looks_like(line: bytes) -> str:
    try:
        text = line.decode("cp1252")
    except UnicodeDecodeError:
        return ""
    odd = next(place for place, character in enumerate(text) if ord(character) > 127)
    return f" In cp1252 it reads {' '.join(text[max(odd - 20, 0) : odd + 20].split())!r}."
