"""Malicious samples kept on the disk, so that processes of one machine write each set once.

Runs of a matrix whose attackers write the same examples share them this way: the directory is
named by an environment variable, which processes inherit. Without it nothing is kept.
"""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from fedsafe.contracts import Sample
from fedsafe.errors import RunError
from fedsafe.experiment.schema import PluginChoice
from fedsafe.runs.checksums import read_sealed, write_sealed
from fedsafe.runs.files import flock, private_directory

VARIABLE = "FEDSAFE_MADE_SAMPLES"
"""Environment variable with the directory."""
PATIENCE = 24 * 3600.0
"""Seconds to wait for another process that is writing the same samples."""
SAMPLES = TypeAdapter(list[Sample])
Made = tuple[list[Sample], int, int]
"""Samples, and how many of those written repeat an evaluation prompt exactly and nearly."""


def made_once(key: str, generator: PluginChoice, make: Callable[[], Made]) -> Made:
    """Return samples that were made before under a key, or make and keep them.

    Args:
        key: Digest of all that they depend on, but for files.
        generator: What writes them; samples that come from a file are not kept.
        make: Writes them.
    """
    home = os.environ.get(VARIABLE, "")
    if not home or _reads_files(generator):
        return make()
    directory = private_directory(Path(home))
    with flock(directory / f"{key[:32]}.lock", _busy, patience=PATIENCE):
        path = directory / f"{key[:32]}.json"
        found = _read(path, key)
        if found is None:
            found = make()
            samples = [asdict(sample) for sample in found[0]]
            record = {"key": key, "samples": samples, "exact": found[1], "near": found[2]}
            write_sealed(path, record)
        return found


def _reads_files(generator: PluginChoice) -> bool:
    """Whether a generator reads a file, or is code of others, which the key says nothing of."""
    text = generator.model_dump_json()
    return ":" in generator.name or '"path"' in text or '"source"' in text


def _read(path: Path, key: str) -> Made | None:
    """Return what was kept; None where there is nothing, or nothing whole."""
    try:
        record: dict[str, Any] = read_sealed(path)
        if record["key"] != key:
            return None
        samples = SAMPLES.validate_python(record["samples"])
        return samples, int(record["exact"]), int(record["near"])
    except (RunError, KeyError, TypeError, ValueError):
        return None


def _busy(holder: str) -> RunError:
    return RunError(f"Process {holder} has been writing the same samples for a day. End it.")
