"""Where a model lies on disk, and the fingerprint of what lies there.

Knows nothing of loading. Hub names are resolved to a local snapshot first, so that
everything after works on a directory.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from fedsafe.errors import ModelError
from fedsafe.experiment.schema import Model

PATTERNS = ("*.safetensors", "*.json", "tokenizer.model", "*.jinja")
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
    if spec.path == "micro":
        from fedsafe.micro.base import model_directory

        return model_directory()
    directory = Path(spec.path).expanduser()
    if not directory.exists():
        return _download(spec)
    if not (directory / "config.json").is_file():
        raise ModelError(
            f"{directory} is no Hugging Face model directory: it has no config.json. Give the "
            "directory that save_pretrained wrote."
        )
    if not any(directory.glob("*.safetensors")):
        pickled = any(next(directory.glob(pattern), None) for pattern in PICKLES)
        what = "only pickled weights, which are never loaded" if pickled else "no weights"
        raise ModelError(f"{directory} has {what}. Save the model with safetensors.")
    return directory


def _download(spec: Model) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            spec.path, revision=spec.revision, allow_patterns=[*PATTERNS], ignore_patterns=["*.bin"]
        )
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(
            f"Model '{spec.path}' is no local directory, and the hub did not give it: {reason} "
            "Check model.path, or download it and give the directory."
        ) from None
    return Path(found)


def fingerprint(directory: Path) -> str:
    """Return the sha256 over a model's weights, configuration and tokenizer.

    Weights of several gigabytes take seconds to read, so digests are remembered by
    path, size and modification time.
    """
    total = hashlib.sha256()
    for path in sorted(file for pattern in PATTERNS for file in directory.glob(pattern)):
        if path.name not in {"README.json", "model.safetensors.index.json"}:
            total.update(f"{path.name}:{_file_digest(path.resolve())}\n".encode())
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
