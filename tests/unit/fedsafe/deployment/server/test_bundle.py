"""The app that a server submits: tiny, whole, and the way to what is installed."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_files

from fedsafe.deployment.server.bundle import files
from fedsafe.flower.environment import environment

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


@pytest.fixture(scope="module")
def bundle() -> zipfile.ZipFile:
    content, _ = build_fab_from_files(files())
    return zipfile.ZipFile(io.BytesIO(content))


def test_it_holds_two_doors_and_no_code(bundle: zipfile.ZipFile) -> None:
    assert set(bundle.namelist()) == {
        "pyproject.toml",
        "deployed/__init__.py",
        "deployed/client_app.py",
        "deployed/server_app.py",
        ".info/CONTENT",
    }
    assert sum(entry.file_size for entry in bundle.infolist()) < 4096


@pytest.mark.parametrize(("side", "installed"), [("client", "clients"), ("server", "server")])
def test_each_door_leads_to_the_app_that_is_installed(
    bundle: zipfile.ZipFile, tmp_path: Path, side: str, installed: str
) -> None:
    """As Flower loads it: unpacked somewhere, that place first on the path."""
    bundle.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        f"from deployed.{side}_app import app\n"
        f"import {installed}.app as installed\n"
        "assert app is installed.app; print(installed.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, check=True, cwd=tmp_path,
        env=environment(tmp_path / "flower"),
    )  # fmt: skip
    assert not done.stdout.startswith(str(tmp_path))
