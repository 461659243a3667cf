"""The wheel: one import name, with the role packages inside it."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROLES = ("clients", "server", "strategies")
ELSEWHERE = """
import sys
sys.path[:] = [path for path in sys.path if path != sys.argv[1]]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
"""
"""Forget the checkout that this environment was made from."""
ACTIVATE = f"""{ELSEWHERE}
from fedsafe.app import activate
home = activate()
for role in ("clients", "server", "strategies"):
    __import__(role)
    assert sys.modules[role].__file__.startswith(str(home)), sys.modules[role].__file__
print(home)
"""
LOAD = f"""{ELSEWHERE}
from fedsafe.experiment import load
print(load("micro").name)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    tree = place / "tree"
    for package in ("fedsafe", *ROLES):
        caches = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tree / package, ignore=caches)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(place)]
    subprocess.run([*command, str(tree)], check=True, capture_output=True, timeout=120)
    (found,) = place.glob("*.whl")
    return found


def test_wheel_holds_one_import_name(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fedsafe"}


def test_wheel_holds_every_file_of_our_packages(wheel: Path) -> None:
    expected = {
        f"{prefix}{path.relative_to(ROOT).as_posix()}"
        for package, prefix in (("fedsafe", ""), *((role, "fedsafe/_app/") for role in ROLES))
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".py", ".yaml", ".json"} or path.name == "py.typed"
    }
    found = {n for n in zipfile.ZipFile(wheel).namelist() if n.startswith("fedsafe/")}
    assert found == expected


def _run(wheel: Path, place: Path, *command: str) -> str:
    """Unpack the wheel and run Python on it, from another directory."""
    site = place / "site"
    zipfile.ZipFile(wheel).extractall(site)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout.strip() or done.stderr


def test_roles_are_imported_from_inside_the_wheel(wheel: Path, tmp_path: Path) -> None:
    said = _run(wheel, tmp_path, "-c", ACTIVATE, str(ROOT))
    assert said == str(tmp_path / "site" / "fedsafe" / "_app")


def test_library_of_the_wheel_loads_experiments(wheel: Path, tmp_path: Path) -> None:
    assert _run(wheel, tmp_path, "-c", LOAD, str(ROOT)) == "micro"


def test_command_line_of_the_wheel_knows_its_presets(wheel: Path, tmp_path: Path) -> None:
    assert "fedsafe run micro" in _run(wheel, tmp_path, "-m", "fedsafe", "config", "show", "micro")
