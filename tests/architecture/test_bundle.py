"""What Flower bundles: our packages, whole, and nothing else."""

import io
import shutil
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("fedsafe", "clients", "server", "strategies")
KEPT = {*PACKAGES, "tests", "pyproject.toml", "README.md", "LICENSE", ".gitignore", "Makefile"}
"""What lies at the top; the rest are environments, caches and runs."""

# Flower's own use of pathspec.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bundle") / "fedsafe"

    def elsewhere(directory: str, names: list[str]) -> set[str]:
        others = set(names) - KEPT if Path(directory) == ROOT else set()
        return others | {"__pycache__"}

    return Path(shutil.copytree(ROOT, target, ignore=elsewhere))


@pytest.fixture(scope="module")
def bundled(tree: Path) -> set[str]:
    from flwr.cli.build import build_fab_from_disk

    return set(zipfile.ZipFile(io.BytesIO(build_fab_from_disk(tree))).namelist())


def test_bundle_holds_exactly_our_packages(tree: Path, bundled: set[str]) -> None:
    ours = {
        path.relative_to(tree).as_posix()
        for package in PACKAGES
        for path in (tree / package).rglob("*")
        if path.suffix in {".py", ".yaml", ".json"}
    }
    found = {name for name in bundled if name.split("/")[0] in PACKAGES}
    assert found == ours


def test_bundle_holds_nothing_else_but_its_own_papers(bundled: set[str]) -> None:
    others = {name for name in bundled if name.split("/")[0] not in PACKAGES}
    assert others <= {"pyproject.toml", "README.md", "LICENSE", ".info/CONTENT"}


def test_our_packages_hold_nothing_that_a_bundle_would_drop(tree: Path) -> None:
    allowed = {".py", ".yaml", ".json"}
    odd = {
        path.relative_to(tree).as_posix()
        for package in PACKAGES
        for path in (tree / package).rglob("*")
        if path.is_file() and path.suffix not in allowed | {".pyc"} and path.name != "py.typed"
    }
    assert not odd


def test_every_line_of_gitignore_is_anchored() -> None:
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    loose = [line for line in lines if line and not line.startswith(("#", "/"))]
    assert set(loose) <= {"__pycache__/", "*.pyc"}
