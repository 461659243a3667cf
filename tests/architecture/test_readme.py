"""The README's words hold: its commands are taken, its examples run, its tree is the tree."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from fedsafe.cli.entry import app
from tests.architecture import compose, readme

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()


def test_library_example_runs() -> None:
    section = TEXT.split("### Rules as a library")[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert code is not None
    names: dict[str, object] = {}
    exec(code[1], names)
    assert tuple(names["found"].update.shape) == (1000,)  # type: ignore[attr-defined]


def test_layout_names_every_package() -> None:
    section = TEXT.split("## Layout")[1]
    named = re.findall(r"^(\w+)/ ", section, re.MULTILINE)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert set(named) == packages | {"tests"}


def test_experiment_example_is_valid(tmp_path: Path) -> None:
    from fedsafe.experiment import load

    section = TEXT.split("### An experiment")[1]
    code = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert code is not None
    file = tmp_path / "my.yaml"
    file.write_text(code[1])
    assert load(file).federation.strategy.name == "multi-krum"


PROGRAMS = {"fedsafe", "make", "docker", "flwr", "flower-superlink", "flower-supernode", "pip"}


def test_every_shell_block_is_understood() -> None:
    assert {one.words[0] for one in readme.commands()} <= PROGRAMS
    assert len(readme.commands("fedsafe")) > 15


@pytest.mark.parametrize("command", readme.commands("fedsafe"), ids=str)
def test_fedsafe_takes_the_command(command: readme.Command) -> None:
    parsed: Any = typer.main.get_command(app)
    arguments = list(command.words[1:])
    while True:
        context = parsed.make_context(None, list(arguments))
        if not hasattr(parsed, "resolve_command"):
            return
        _, parsed, arguments = parsed.resolve_command(
            context, [*context.protected_args, *context.args]
        )


@pytest.mark.parametrize("command", readme.commands("make"), ids=str)
def test_make_knows_the_target(command: readme.Command) -> None:
    makefile = (readme.ROOT / "Makefile").read_text()
    assert re.search(rf"^{command.words[1]}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("command", readme.commands("docker"), ids=str)
def test_compose_files_and_services_are_there(command: readme.Command) -> None:
    words = command.words
    files = [words[n + 1] for n, word in enumerate(words) if word == "-f"]
    assert all((readme.ROOT / name).is_file() for name in files)
    if "run" in words:
        assert words[-1] in compose.services()


@pytest.mark.parametrize("command", readme.commands("flower-superlink"), ids=str)
def test_flower_takes_the_superlink_command(command: readme.Command) -> None:
    from flwr.superlink.cli.flower_superlink import _parse_args_run_superlink

    _parse_args_run_superlink().parse_args(list(command.words[1:]))


@pytest.mark.parametrize("command", readme.commands("flower-supernode"), ids=str)
def test_flower_takes_the_supernode_command(command: readme.Command) -> None:
    from flwr.supernode.cli.flower_supernode import _parse_args_run_supernode

    _parse_args_run_supernode().parse_args(list(command.words[1:]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Flower's own
@pytest.mark.parametrize("command", readme.commands("flwr"), ids=str)
def test_flower_takes_the_command(command: readme.Command) -> None:
    from flwr.cli.app import app as flwr

    parsed: Any = typer.main.get_command(flwr)
    arguments = list(command.words[1:])
    while hasattr(parsed, "commands"):
        parsed, arguments = parsed.commands[arguments[0]], arguments[1:]
    parsed.make_context(None, list(arguments))


def test_a_client_that_brings_no_data_is_not_in_it() -> None:
    """The section's experiment has the data with its clients."""
    joining = [one for one in readme.commands("fedsafe") if one.words[1] == "client"]
    assert joining
    assert all("--data" in one.words for one in joining)


def _block(section: str, language: str) -> str:
    code = re.search(rf"```{language}\n(.*?)```", TEXT.split(f"### {section}")[1], re.DOTALL)
    assert code is not None
    return code[1]


def test_own_strategy_runs_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedsafe.cli import main

    (name,) = re.findall(r"Save this as `(\S+)`", TEXT)
    (change,) = re.findall(r"set `(federation\.strategy\.name=\S+:\S+)`", TEXT)
    (tmp_path / name).write_text(_block("Write your own strategy", "python"))
    monkeypatch.chdir(tmp_path)
    small = ["federation.clients=2", "federation.rounds=1", "attack=null", "defenses=[]"]
    sets = [part for one in (change, *small) for part in ("--set", one)]
    assert main(["run", "micro-quick", *sets, "-o", "out"]) == 0
    assert '"spread"' in (tmp_path / "out" / "rounds.jsonl").read_text()


@pytest.mark.slow
def test_python_example_runs_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(_block("From Python", "python"), names)
    assert "defended:fine-tune" in capsys.readouterr().out
    assert (tmp_path / "runs" / "from-python" / "report.html").is_file()
