"""Model directories: where a model lies on disk, and the fingerprint of what lies there.

Knows nothing of loading. Hub names are resolved to a local snapshot first, so that
everything after works on a directory.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from fedsafe.errors import ModelError, reason_of
from fedsafe.experiment.schema import Model
from fedsafe.micro.base import is_embedded, model_directory
from fedsafe.models.tokenizer_identity import tokenizer_digest

PATTERNS = ("*.safetensors", "*.json", "tokenizer.model", "merges.txt", "vocab.txt", "*.jinja")
"""What is downloaded of a model: weights, configuration, and any tokenizer's files."""
CONFIGURATION = ("config.json", "generation_config.json")
ADAPTER = "adapter_config.json"
IMPORTED = "fedsafe-import.json"
"""Where an imported model came from."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl")


def cache_directory() -> Path:
    """Return where FedSafe keeps what it can make again: $FEDSAFE_CACHE or ~/.cache/fedsafe."""
    home = os.environ.get("FEDSAFE_CACHE")
    return Path(home) if home else Path.home() / ".cache" / "fedsafe"


def locate(spec: Model) -> Path:
    """Return the local directory of a model.

    Raises:
        ModelError: The directory holds no model, or the hub cannot be reached.
    """
    if is_embedded(spec.path):
        return model_directory(spec.path)
    directory = Path(spec.path).expanduser()
    if not directory.exists():
        return _bare(_download(spec))
    if not (directory / "config.json").is_file():
        if (directory / ADAPTER).is_file():
            raise ModelError(
                f"{directory} holds an adapter and no base model. Give the base model's directory; "
                "`--adapter` takes this one."
            )
        raise ModelError(
            f"{directory} is no Hugging Face model directory: it has no config.json. Give the "
            "directory that save_pretrained wrote."
        )
    if not any(directory.glob("*.safetensors")):
        pickled = any(next(directory.glob(pattern), None) for pattern in PICKLES)
        what = "only pickled weights, which are never loaded" if pickled else "no weights"
        raise ModelError(f"{directory} has {what}. Save the model with safetensors.")
    return _bare(directory)


def name_of(spec: Model) -> tuple[str, str | None]:
    """Return what a saved adapter calls its base model, and its revision: no path of this machine.

    A copy of a model of the hub goes by its name there: in the hub's cache, or as `fedsafe model
    import` made it. Any other directory goes by its own name.
    """
    directory = Path(spec.path).expanduser()
    if not directory.is_dir():
        return spec.path, spec.revision
    home = directory.resolve()
    if home.parent.name == "snapshots" and home.parents[1].name.startswith("models--"):
        return home.parents[1].name.removeprefix("models--").replace("--", "/", 1), home.name
    with suppress(OSError, ValueError, AttributeError, KeyError):
        origin = json.loads((home / IMPORTED).read_text(encoding="utf-8"))
        if origin.get("kind") == "hub" and origin.get("dtype") == "auto":
            return str(origin["source"]), str(origin["name"])
    return home.name, None


def _bare(directory: Path) -> Path:
    """Return a model's directory, in which no adapter may lie.

    Raises:
        ModelError: One does; transformers would put it into the model without a word.
    """
    if (directory / ADAPTER).is_file():
        raise ModelError(
            f"{directory} holds an adapter ({ADAPTER}) beside the base model, and which is meant "
            "cannot be told. Move the adapter's files to a directory of their own; `--adapter` "
            "takes that."
        )
    return directory


def _download(spec: Model) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            spec.path, revision=spec.revision, allow_patterns=[*PATTERNS], ignore_patterns=["*.bin"]
        )
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = reason_of(error)
        raise ModelError(
            f"Model '{spec.path}' is no local directory, and the hub did not give it: {reason} "
            "Check model.path, or download it and give the directory."
        ) from None
    return Path(found)


def load_tokenizer(directory: Path) -> Any:
    """Load the tokenizer of a model; no code that comes with it is run.

    Raises:
        ModelError: It cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - whatever a broken file brings about
        reason = reason_of(error)
        raise ModelError(f"The tokenizer in {directory} cannot be loaded: {reason}") from None


def fingerprint(directory: Path, tokenizer: Any = None) -> str:
    """Return the sha256 over a model's weights and configuration, and what its tokenizer does.

    Weights of several gigabytes take seconds to read, so digests are remembered by
    path, size and modification time.

    Args:
        directory: Where the model lies.
        tokenizer: Its tokenizer as it was loaded; None: it is loaded.

    Raises:
        ModelError: The tokenizer cannot be loaded.
    """
    total = hashlib.sha256()
    configuration = [directory / name for name in CONFIGURATION if (directory / name).is_file()]
    for path in sorted([*directory.glob("*.safetensors"), *configuration]):
        total.update(f"{path.name}:{_file_digest(path.resolve())}\n".encode())
    own = load_tokenizer(directory) if tokenizer is None else tokenizer
    total.update(f"tokenizer:{tokenizer_digest(own)}\n".encode())
    return total.hexdigest()


def _file_digest(path: Path) -> str:
    status = path.stat()
    key = hashlib.sha256(f"{path}:{status.st_size}:{status.st_mtime_ns}".encode()).hexdigest()
    remembered = cache_directory() / "digests" / key
    with suppress(OSError):
        return str(json.loads(remembered.read_text(encoding="utf-8")))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if status.st_size > 2**26:
        from fedsafe.runs.files import write_json

        with suppress(OSError):  # it is read again, then
            write_json(remembered, digest)
    return digest
