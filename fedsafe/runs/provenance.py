"""Provenance of a run: package versions, hardware, hashes of model and data.

Reads versions without importing the packages.
"""

import os
import platform
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from uuid import uuid4

from fedsafe.runs.records import Provenance
from fedsafe.version import __version__

SOURCE = Path(__file__).parents[2]
"""Where FedSafe's packages lie: the root of a checkout, or site-packages."""
PACKAGES = (
    "flwr",
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "datasets",
    "pydantic",
    "numpy",
    "safetensors",
)


def observe(
    *,
    model: str,
    data: dict[str, str],
    runtime: str,
    gpus: list[str],
    experiment: str = "",
    compute: str = "",
    max_length: int | None = None,
) -> Provenance:
    """Return the provenance of a run that starts now."""
    return Provenance(
        fedsafe=__version__,
        commit=commit(),
        python=sys.version.split()[0],
        packages=versions(),
        platform=platform.platform(),
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        gpus=gpus,
        model=model,
        data=data,
        runtime=runtime,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        run=uuid4().hex,
        experiment=experiment,
        compute=compute,
        max_length=max_length,
    )


def commit(checkout: Path = SOURCE) -> str:
    """Return the git commit of a checkout, with a + where files differ from it; "" for none."""
    if not (checkout / ".git").exists():
        return ""
    git = ("git", "--no-optional-locks", "-C", str(checkout))
    with suppress(OSError, subprocess.SubprocessError):
        found, changed = (
            subprocess.run(
                [*git, *asked], capture_output=True, text=True, timeout=10, check=True
            ).stdout.strip()
            for asked in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
        )
        return f"{found}+" if changed else found
    return ""


def versions() -> dict[str, str]:
    """Return the versions of the packages that results depend on."""
    return {name: found for name in PACKAGES if (found := _version(name))}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
