"""Manifests of files by sha256: write one, read one of any usual form, verify the files.

``sha256sum`` lines and those with ``--tag``, a JSON or YAML mapping, or a table with the columns
path and sha256. Knows nothing of what the files hold.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from fedsafe.data.cells import find
from fedsafe.data.tables import read_table
from fedsafe.data.text_files import check_file, suffix_of, text_lines
from fedsafe.errors import DataError

State = Literal["ok", "changed", "missing"]
SUM: Final = re.compile(r"(?P<escaped>\\?)(?P<sha256>[0-9a-fA-F]{64}) [ *](?P<path>.+)")
TAGGED: Final = re.compile(r"(?P<escaped>\\?)SHA256 \((?P<path>.+)\) = (?P<sha256>[0-9a-fA-F]{64})")
HASH: Final = re.compile(r"[0-9a-fA-F]{64}")
ESCAPES: Final = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}
"""Signs in names as sha256sum writes them, in lines that begin with a backslash."""
PATHS: Final = ("path", "file", "name", "filename")


@dataclass(frozen=True)
class Entry:
    """A file of a manifest.

    Attributes:
        where: Where the manifest says so, for what is said of it.
        path: As written there, relative to the manifest's directory.
        sha256: Expected hash, 64 hexadecimal digits in small letters.
    """

    where: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Verified:
    """What became of a file of a manifest.

    Attributes:
        path: As written in the manifest.
        state: ok, changed or missing.
        expected: Hash in the manifest.
        found: Hash of the file; empty where it is missing.
    """

    path: str
    state: State
    expected: str
    found: str = ""


def verify(manifest: Path, root: Path | None = None) -> list[Verified]:
    """Return what became of each file of a manifest, in its order.

    Args:
        manifest: Its file.
        root: Directory that its paths are relative to; None: that of the manifest.

    Raises:
        DataError: The manifest cannot be read, or a file of it cannot.
    """
    home = manifest.parent if root is None else root
    return [_verified(entry, home) for entry in read_manifest(manifest)]


def read_manifest(path: Path) -> list[Entry]:
    """Return the files of a manifest.

    Raises:
        DataError: It is missing or broken, names no file, or names one twice with other hashes.
    """
    suffix = suffix_of(path)
    if suffix in (".json", ".yaml", ".yml"):
        found = list(_mapped(path))
    elif suffix in (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"):
        found = [_entry(where, row) for where, row in read_table(path)]
    else:
        found = list(_sums(path))
    if not found:
        raise DataError(f"{path}: the manifest names no file.")
    known: dict[str, Entry] = {}
    for entry in found:
        earlier = known.setdefault(entry.path, entry)
        if earlier.sha256 != entry.sha256:
            raise DataError(
                f"{entry.where}: '{entry.path}' has another hash at {earlier.where}. Delete one."
            )
    return list(known.values())


def write_manifest(files: Sequence[Path], output: Path) -> list[Entry]:
    """Write a manifest of files, in the form that its name says, and return what is in it.

    ``.json``, ``.yaml`` or ``.yml``: paths with hashes and sizes; another: lines that
    ``sha256sum --check`` reads. Paths are relative to the manifest where they lie beside or below
    it, so that the directory can be moved.

    Raises:
        DataError: A file is missing or cannot be read, or the manifest cannot be written.
    """
    entries = [Entry("", _named(path, output.parent), _digest(path)) for path in files]
    sized = zip(entries, files, strict=True)
    rows = [
        {"path": entry.path, "sha256": entry.sha256, "bytes": path.stat().st_size}
        for entry, path in sized
    ]
    suffix = output.suffix.lower()
    if suffix == ".json":
        text = json.dumps({"files": rows}, indent=2, ensure_ascii=False) + "\n"
    elif suffix in (".yaml", ".yml"):
        text = yaml.safe_dump({"files": rows}, sort_keys=False, allow_unicode=True)
    else:
        text = "".join(map(_sum_line, entries))
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{output}: the manifest cannot be written ({error.strerror}).") from None
    return entries


def _verified(entry: Entry, home: Path) -> Verified:
    path = home / entry.path
    if not path.is_file():
        return Verified(entry.path, "missing", entry.sha256)
    found = _digest(path)
    return Verified(entry.path, "ok" if found == entry.sha256 else "changed", entry.sha256, found)


def _digest(path: Path) -> str:
    if not path.is_file():
        got = "a folder" if path.is_dir() else "nothing"
        raise DataError(f"{path}: expected a file, got {got}.")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read ({error.strerror}).") from None


def _named(path: Path, home: Path) -> str:
    """Return a path relative to a directory where it lies in it, else absolute."""
    whole, start = path.absolute(), home.absolute()
    return whole.relative_to(start).as_posix() if whole.is_relative_to(start) else str(whole)


def _sum_line(entry: Entry) -> str:
    """Return a line as ``sha256sum`` writes it, odd characters of names escaped."""
    name = entry.path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if name == entry.path else chr(92)}{entry.sha256}  {name}\n"


def _sums(path: Path) -> Iterator[Entry]:
    """Yield the files of lines as ``sha256sum`` writes them."""
    with text_lines(path) as lines:
        for number, line in enumerate(lines, 1):
            text = line.strip("\r\n")
            if not text.strip() or text.startswith("#"):
                continue
            where = f"{path}, line {number}"
            match = SUM.fullmatch(text) or TAGGED.fullmatch(text)
            if match is None:
                raise DataError(
                    f"{where}: expected 64 hexadecimal digits, two spaces and a file's name, as "
                    f"sha256sum writes them, got {text[:40]!r}."
                )
            name = match["path"]
            if match["escaped"]:
                name = re.sub(r"\\[\\nr]", lambda found: ESCAPES[found[0]], name)
            yield Entry(where, name, match["sha256"].lower())


def _mapped(path: Path) -> Iterator[Entry]:
    """Yield the files of a JSON or YAML document: paths to hashes, or a list of both."""
    check_file(path)
    with text_lines(path) as lines:
        text = "".join(lines)
    try:
        value: Any = json.loads(text) if suffix_of(path) == ".json" else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: expected JSON ({error.msg}).") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        reason = getattr(error, "problem", None) or "it cannot be read"
        raise DataError(f"{where}: expected YAML ({reason}).") from None
    if isinstance(value, Mapping) and "files" in value:
        value = value["files"]
    rows: Iterable[tuple[str, Any]]
    if isinstance(value, Mapping):
        rows = [(f"{path}, '{name}'", {"path": name, **_fields(of)}) for name, of in value.items()]
    elif isinstance(value, list):
        rows = [(f"{path}, entry {number}", row) for number, row in enumerate(value, 1)]
    else:
        raise DataError(
            f"{path}: expected paths with hashes, or a list of entries with path and sha256."
        )
    yield from (_entry(where, row) for where, row in rows)


def _fields(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {"sha256": value}


def _entry(where: str, row: object) -> Entry:
    """Return the file of a row with a path and a hash."""
    fields = row if isinstance(row, Mapping) else {}
    name = next((own for n in PATHS if (own := find(fields, n)) is not None), None)
    path = fields[name] if name is not None else None
    if not isinstance(path, str) or not path:
        raise DataError(f"{where}: expected a field 'path' with a file's name, got {row!r:.60}.")
    own = find(fields, "sha256")
    digest = fields[own] if own is not None else None
    if not isinstance(digest, str) or not HASH.fullmatch(digest.strip()):
        raise DataError(
            f"{where}: expected 64 hexadecimal digits in field 'sha256', got {digest!r:.80}."
        )
    return Entry(where, path, digest.strip().lower())
