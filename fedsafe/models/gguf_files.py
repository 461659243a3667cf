"""GGUF files: convert one to an ordinary model directory of safetensors.

transformers reads and dequantizes the file; what it cannot read is refused with a sentence
before any weight is loaded. The same file gives the same bytes on every machine.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from fedsafe.errors import MissingDependencyError, ModelError, reason_of
from fedsafe.lazy import torch

MAGIC = b"GGUF"
VERSIONS = (2, 3)
"""Versions of the format that the gguf package reads."""
OF_THIS_MACHINE = frozenset(
    {
        *("_name_or_path", "_model_name_or_path", "_from_model_config", "transformers_version"),
        *("is_local", "local_files_only", "name_or_path"),
    }
)
"""Keys of written JSON files that say where, when or by which version a file was written."""
UNLIMITED = 10**29
"""transformers' length limit of a tokenizer that has none."""


def check_gguf(file: Path) -> None:
    """Check that a file is GGUF of a known version, from its first bytes.

    Raises:
        ModelError: It is not.
        MissingDependencyError: The gguf package is not installed.
    """
    try:
        with file.open("rb") as opened:
            head = opened.read(8)
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}.") from None
    if head[:4] != MAGIC:
        raise ModelError(
            f"{file} is no GGUF file: it begins with {head[:4]!r}, a GGUF file with {MAGIC!r}. It "
            "may be a page that was saved in its place, or a Git LFS pointer; download it again."
        )
    version = int.from_bytes(head[4:8], "little")
    if version not in VERSIONS:
        raise ModelError(
            f"{file} is GGUF of version {version}; only {VERSIONS[0]} and {VERSIONS[1]}, little "
            "endian, can be read. Convert it anew with a current llama.cpp."
        )
    if find_spec("gguf") is None:
        raise MissingDependencyError(
            f"Reading {file} needs the package gguf. Install it: pip install 'fedsafe[gguf]'."
        )


def convert(file: Path, directory: Path, dtype: "torch.dtype") -> None:
    """Write a GGUF model as safetensors, configuration, tokenizer and chat template.

    Args:
        file: The GGUF file.
        directory: Where to; it exists.
        dtype: Type of the written weights. Dequantized values are exact in float32; bfloat16
            rounds them by at most 2**-9 of each.

    Raises:
        ModelError: transformers cannot read the file: its architecture or tokenizer is unknown
            there, or it is damaged.
        MissingDependencyError: The gguf package is not installed.
    """
    check_gguf(file)
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    here = {"gguf_file": file.name, "trust_remote_code": False}
    with _sentences(file), _quiet():
        config = AutoConfig.from_pretrained(file.parent, **here)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **here)
        loaded = AutoModelForCausalLM.from_pretrained(file.parent, dtype=dtype, **here)
        _unquantized(loaded, config).save_pretrained(directory)
        if tokenizer.model_max_length > UNLIMITED and getattr(config, "max_position_embeddings", 0):
            tokenizer.model_max_length = config.max_position_embeddings
        tokenizer.save_pretrained(directory)
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        _tidy(directory / name)


def _unquantized(loaded: Any, config: Any) -> Any:
    """Return the same weights in a model that knows of no GGUF file, which would not be saved."""
    kind = type(loaded)
    with torch.device("meta"):
        fresh = kind(config)
    fresh.load_state_dict(loaded.state_dict(), assign=True)
    fresh.tie_weights()
    fresh.config.dtype = loaded.dtype
    fresh.generation_config = loaded.generation_config
    return fresh


def _tidy(path: Path) -> None:
    """Remove what differs from machine to machine: two imports of one file are equal."""
    if path.is_file():
        values = json.loads(path.read_text(encoding="utf-8"))
        kept = {name: value for name, value in values.items() if name not in OF_THIS_MACHINE}
        path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def _sentences(file: Path) -> Iterator[None]:
    """Turn whatever a file that cannot be read brings about into one sentence."""
    try:
        yield
    except MemoryError:
        raise ModelError(
            f"There is not enough memory to dequantize {file}. Use a larger machine, or the "
            "model's safetensors."
        ) from None
    except Exception as error:  # noqa: BLE001 - whatever a broken file brings about
        reason = reason_of(error)
        raise ModelError(
            f"transformers cannot read the GGUF file {file}: {reason}. Use the model's safetensors "
            "in its place, or a GGUF file of an architecture that transformers knows."
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars and advice of the libraries from the user's terminal."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):  # tqdm has no other switch
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
