"""The entry point as its own process: light, and with the right exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from fedsafe import __version__

HEAVY = ("torch", "flwr", "transformers", "plotly", "datasets", "peft", "numpy", "pydantic")


def fedsafe(
    environment: dict[str, str], *arguments: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fedsafe", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, cwd=cwd
    )


@pytest.mark.parametrize("command", ["--help", "--version", "run --help", "plugins --help"])
def test_help_imports_nothing_heavy(environment: dict[str, str], command: str) -> None:
    code = (
        "import sys; from fedsafe.cli import main; "
        f"assert main({command.split()!r}) == 0; "
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == "[]"


def test_version_is_printed(environment: dict[str, str]) -> None:
    done = fedsafe(environment, "--version")
    assert (done.returncode, done.stdout) == (0, f"fedsafe {__version__}\n")


def test_no_arguments_shows_help(environment: dict[str, str]) -> None:
    done = fedsafe(environment)
    assert done.returncode == 0
    assert "plugins" in done.stdout


def test_usage_error_is_one_line_and_exit_code_2(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = fedsafe(environment, "run", "--setz", "a=b", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: No such option")
    assert "fedsafe run --help" in done.stderr


def test_missing_run_is_exit_code_1(environment: dict[str, str], tmp_path: Path) -> None:
    done = fedsafe(environment, "report", "nowhere", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_checking_an_experiment_loads_no_model_library(
    environment: dict[str, str], tmp_path: Path
) -> None:
    code = (
        "import sys; from fedsafe.cli import main; "
        "assert main(['config', 'validate', 'micro']) == 0; "
        "print([n for n in ('torch', 'transformers') if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.stderr.strip() == "[]"
