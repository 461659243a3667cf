"""The micro base models as ordinary Hugging Face directories.

Each ships inside a JSON file, since a Flower bundle keeps no binary files. It is written
out once per machine, the same bytes everywhere, and verified. ``micro`` is the shallow base
of seed 0, ``micro:1`` that of seed 1; ``micro-deep`` and ``micro-deep:1`` are the deep ones,
whose refusals also come after the first words of a compliant answer; ``micro-over`` refuses
ordinary requests about restricted objects as well.
Knows nothing of the world they were trained on.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from fedsafe.errors import ModelError
from fedsafe.micro.weights import digest, float32

BASE_FILE: Final = Path(__file__).with_name("base.json")
NAME: Final = re.compile(r"micro(?P<kind>-deep|-over)?(?::(?P<seed>\d{1,9}))?")
CACHE_VARIABLE: Final = "FEDSAFE_CACHE"


def is_embedded(name: str) -> bool:
    """Return whether a model's name is that of a micro base, shipped or not."""
    return NAME.fullmatch(name) is not None


def base_file(name: str) -> Path:
    """Return where a micro base's weights lie, or would lie were it built.

    Raises:
        ModelError: The name is not of the form ``micro``, ``micro-deep:1``.
    """
    found = NAME.fullmatch(name)
    if found is None:
        raise ModelError(f"'{name}' names no micro base. Known: {', '.join(shipped())}.")
    seed = int(found["seed"] or 0)
    return BASE_FILE.with_stem(f"base{found['kind'] or ''}" + (f"-{seed}" if seed else ""))


def shipped() -> list[str]:
    """Return the names of the micro bases that are here."""
    stems = sorted(path.stem for path in BASE_FILE.parent.glob("base*.json"))
    return [re.sub(r"-(\d+)$", r":\1", stem.replace("base", "micro", 1)) for stem in stems]


def model_directory(name: str = "micro") -> Path:
    """Return the directory of a micro base model, writing it on first use.

    It lies in ``$FEDSAFE_CACHE`` (default ``~/.cache/fedsafe``) and loads with
    ``AutoModelForCausalLM`` and ``AutoTokenizer``. Many processes may call this
    at once: each writes aside, one rename wins. A damaged copy is replaced.

    Raises:
        ModelError: The base is not shipped, its file does not match its own hash, or nothing
            can be written.
    """
    files = _files(name)
    root = Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "fedsafe")
    directory = root / f"micro-{fingerprint(name)[:8]}"
    try:
        if not _intact(directory, files):
            _write(root, directory, files)
    except OSError as error:  # users of services often have no home
        raise ModelError(
            f"The cache directory {root} cannot be written: {error.strerror}. Set {CACHE_VARIABLE} "
            "to one that can."
        ) from None
    return directory


@cache
def fingerprint(name: str = "micro") -> str:
    """Return the sha256 over the names and bytes of all files of a micro base model."""
    found = hashlib.sha256()
    for file, content in sorted(_files(name).items()):
        found.update(file.encode() + b"\0" + hashlib.sha256(content).digest())
    return found.hexdigest()


def _write(root: Path, directory: Path, files: dict[str, bytes]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".micro-", dir=root))
    try:
        for name, content in files.items():
            (aside / name).write_bytes(content)
        aside.chmod(0o755)
        _install(aside, directory, files)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _install(aside: Path, directory: Path, files: dict[str, bytes]) -> None:
    for _ in range(3):
        try:
            aside.rename(directory)
        except OSError:  # it is there already: another process won, or it is damaged
            if _intact(directory, files):
                return
            damaged = Path(tempfile.mkdtemp(prefix=".damaged-", dir=directory.parent))
            with suppress(OSError):
                directory.rename(damaged / "model")
            shutil.rmtree(damaged, ignore_errors=True)
        else:
            return
    raise ModelError(f"Cannot write the micro model to {directory}. Remove it and try again.")


def _intact(directory: Path, files: dict[str, bytes]) -> bool:
    try:
        return all((directory / name).read_bytes() == content for name, content in files.items())
    except OSError:
        return False


@cache
def _files(base: str) -> dict[str, bytes]:
    path = base_file(base)
    if not path.is_file():
        raise ModelError(
            f"The micro base '{base}' is not shipped. Use one of {', '.join(shipped())}, or make "
            "it with python -m fedsafe.micro.build."
        )
    document = json.loads(path.read_bytes())
    weights = document["weights"]
    found = digest(weights)
    if found != document["sha256"]:
        raise ModelError(
            f"{path} is damaged: expected sha256 {document['sha256']}, got {found}. "
            "Restore it, or run python -m fedsafe.micro.build."
        )
    config = document["config"]
    special = {f"{name}_token_id": config[f"{name}_token_id"] for name in ("pad", "bos", "eos")}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"},
        "additional_special_tokens": ["<system>", "<user>", "<assistant>"],
        "model_max_length": config["max_position_embeddings"],
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "chat_template": document["chat_template"],
    }
    return {
        "config.json": _json(config),
        "generation_config.json": _json(special),
        "model.safetensors": _safetensors(weights),
        "tokenizer.json": _json(document["tokenizer"]),
        "tokenizer_config.json": _json(settings),
    }


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _safetensors(weights: dict[str, dict[str, Any]]) -> bytes:
    """Write float32 tensors in the safetensors format, with no library's version in it."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = bytearray()
    for name, tensor in sorted(weights.items()):
        start = len(body)
        body += float32(tensor)
        header[name] = {
            "dtype": "F32",
            "shape": tensor["shape"],
            "data_offsets": [start, len(body)],
        }
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + bytes(body)
