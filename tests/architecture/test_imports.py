"""Imports point down; the contracts are in pyproject.toml."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doubles import processes

ROOT = Path(__file__).parents[2]


def test_imports_point_down() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("module", [v for k, v in vars(processes).items() if k.isupper()])
def test_module_that_the_kill_and_attack_scripts_look_for_is_there(module: str) -> None:
    assert importlib.util.find_spec(module) is not None
