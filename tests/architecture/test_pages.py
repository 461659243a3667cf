"""Every page's code blocks hold: programs take the commands, Python runs, experiments load."""

import ast
import importlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from fedsafe.cli.entry import app
from fedsafe.cli.pipelines import pipelines_of
from fedsafe.cli.text import settings
from fedsafe.contracts import REGISTRIES
from fedsafe.errors import ConfigError
from fedsafe.experiment import load, presets
from fedsafe.matrix.cells import cells_of
from fedsafe.matrix.definition import read
from fedsafe.matrix.searching import planned
from tests.architecture import compose, pages

PROGRAMS = {"fedsafe", "make", "docker", "flwr", "flower-superlink", "flower-supernode", "pip"}
PLAIN = {"cat", "cd", "cp", "curl", "export", "git", "ls", "mkdir", "python", "ray", "sudo",
         "systemctl"}  # fmt: skip
PLAIN |= {"inspect", "mlflow", "tensorboard"}
"""Programs whose commands no test parses."""
LANGUAGES = {"", "bash", "python", "yaml", "json", "toml", "text", "markdown", "ini"}
PYTHON = [one for one in pages.blocks("python") if not one.saved]
OURS = {"fedsafe", "clients", "server", "strategies"}
READERS_OWN_PLUGIN = re.compile(r"my_\w+$|__main__$|builtins$")
"""Modules of plug-ins that a page shows."""
READERS_OWN = re.compile(r"No module named '(my_\w+)'")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory, whose modules and plug-ins are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDSAFE_PLUGIN_PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    before = set(sys.modules)
    known = {kind: dict(registry._plugins) for kind, registry in REGISTRIES.items()}
    yield tmp_path
    for kind, registry in REGISTRIES.items():  # pages register what they show under a name
        lost = registry._plugins.keys() - known[kind].keys()
        for name in [name for name in lost if READERS_OWN_PLUGIN.match(_module(registry, name))]:
            del registry._plugins[name]
    for name in set(sys.modules) - before:
        where = getattr(sys.modules[name], "__file__", None) or ""
        if where.startswith(str(tmp_path)):
            del sys.modules[name]


def _module(registry: Any, name: str) -> str:
    return str(getattr(registry._plugins[name].function, "__module__", ""))


def _loads(reference: Any, changes: list[str], own: list[str]) -> None:
    """Load an experiment; modules `my_...` that the page does not show are the reader's."""
    try:
        load(reference, changes)
    except ConfigError as error:
        problems = [
            f"{path}: {sentence}"
            for path, sentence in error.problems
            if not (module := READERS_OWN.search(sentence)) or f"{module[1]}.py" in own
        ]
        if problems or not error.problems:
            pytest.fail("\n".join(problems) or str(error))


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.name)
def test_every_block_has_a_language_that_is_checked_here(page: Path) -> None:
    """`text` is for what is no command: a listing, what a program prints."""
    assert {one.language for one in pages.parse(page)} <= LANGUAGES


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_program_of_a_shell_block_is_known() -> None:
    assert {one.words[0] for one in pages.commands()} <= PROGRAMS | PLAIN
    assert len(pages.commands("fedsafe")) > 15


@pytest.mark.parametrize("command", pages.commands("fedsafe"), ids=str)
def test_fedsafe_takes_the_command(command: pages.Command) -> None:
    parsed: Any = typer.main.get_command(app)
    arguments = list(command.words[1:])
    while True:
        context = parsed.make_context(None, list(arguments))
        if not hasattr(parsed, "resolve_command"):
            return
        _, parsed, arguments = parsed.resolve_command(
            context, [*context.protected_args, *context.args]
        )


STARTING = [one for one in pages.commands("fedsafe") if one.words[1] in {"run", "server"}]


@pytest.mark.parametrize("command", STARTING, ids=str)
def test_settings_of_the_command_are_valid(command: pages.Command, place: Path) -> None:
    """For a reader's own experiment, those given with --set are tried on a preset."""
    own = pages.save(command.block.page, place)
    named = (command.values("--experiment") or command.words[2:])[0]
    known = named in presets() or named in own
    assert known or named.endswith((".yaml", ".yml"))
    _loads(named if known else "micro", command.values("--set", "-s"), own)


DEFENDING = [one for one in pages.commands("fedsafe") if "defend" in one.words[1:2]]


@pytest.mark.parametrize("command", DEFENDING, ids=str)
def test_defense_of_the_command_is_there_with_its_settings(
    command: pages.Command, place: Path
) -> None:
    own = pages.save(command.block.page, place)
    asked = command.values("--with")
    names = {name for option in asked for name in option.split("+")}
    if not any(":" in name for name in names):
        found = pipelines_of(asked, settings(command.values("--set", "-s")))
        written = [[choice.model_dump() for choice in steps] for steps in found]
        _loads("micro", [f"defenses={json.dumps(written)}"], own)
        return
    (name,) = names  # of the page's own module
    given = ", ".join(one.replace("=", ": ", 1) for one in command.values("--set", "-s"))
    _loads("micro", [f"defenses=[{{name: '{name}', {given}}}]"], own)


@pytest.mark.parametrize("command", pages.commands("make"), ids=str)
def test_make_knows_the_target(command: pages.Command) -> None:
    makefile = (pages.ROOT / "Makefile").read_text()
    assert re.search(rf"^{command.words[1]}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("command", pages.commands("docker"), ids=str)
def test_compose_files_and_services_are_there(command: pages.Command) -> None:
    assert all((pages.ROOT / name).is_file() for name in command.values("-f"))
    if "run" in command.words:
        assert command.words[-1] in compose.services()


@pytest.mark.parametrize("command", pages.commands("flower-superlink"), ids=str)
def test_flower_takes_the_superlink_command(command: pages.Command) -> None:
    from flwr.superlink.cli.flower_superlink import _parse_args_run_superlink

    _parse_args_run_superlink().parse_args(list(command.words[1:]))


@pytest.mark.parametrize("command", pages.commands("flower-supernode"), ids=str)
def test_flower_takes_the_supernode_command(command: pages.Command) -> None:
    from flwr.supernode.cli.flower_supernode import _parse_args_run_supernode

    _parse_args_run_supernode().parse_args(list(command.words[1:]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Flower's own
@pytest.mark.parametrize("command", pages.commands("flwr"), ids=str)
def test_flower_takes_the_command(command: pages.Command) -> None:
    from flwr.cli.app import app as flwr

    parsed: Any = typer.main.get_command(flwr)
    arguments = list(command.words[1:])
    while hasattr(parsed, "commands"):
        parsed, arguments = parsed.commands[arguments[0]], arguments[1:]
    parsed.make_context(None, list(arguments))


@pytest.mark.parametrize("block", pages.blocks("yaml"), ids=str)
def test_experiment_of_the_block_is_valid(block: pages.Block, place: Path) -> None:
    if block.other:
        yaml.safe_load(block.text)
        return
    own = pages.save(block.page, place)
    (place / "block.yaml").write_text(block.text, encoding="utf-8")
    if "axes" in (yaml.safe_load(block.text) or {}):  # a matrix
        written = read(place / "block.yaml")
        assert planned(written, place).plan.cells if written.search else cells_of(written)
        return
    _loads("block.yaml", [], own)


@pytest.mark.parametrize("language", ["json", "toml"])
def test_data_blocks_can_be_read(language: str) -> None:
    for block in pages.blocks(language):
        json.loads(block.text) if language == "json" else tomllib.loads(block.text)


@pytest.mark.parametrize("block", [b for b in pages.blocks("python") if b.saved], ids=str)
def test_module_that_readers_save_can_be_imported(block: pages.Block, place: Path) -> None:
    pages.save(block.page, place)
    importlib.import_module(block.saved.removesuffix(".py").replace("/", "."))


NAMED = [
    (page, change)
    for page in pages.pages()
    for change in re.findall(r"`([a-z_.]+=my_\w+:\w+)`", page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("page", "change"), NAMED, ids=[f"{p.name}:{c}" for p, c in NAMED])
def test_setting_in_the_text_that_names_a_readers_module_is_valid(
    page: Path, change: str, place: Path
) -> None:
    _loads("micro", [change], pages.save(page, place))


@pytest.mark.parametrize("block", [one for one in PYTHON if one.needs], ids=str)
def test_block_that_cannot_run_here_names_what_there_is(block: pages.Block) -> None:
    """What our packages do not have is found without running it."""
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
            module = importlib.import_module(node.module or "")
            assert [a.name for a in node.names if not hasattr(module, a.name)] == []


RUNNING = sorted({one.page for one in PYTHON if not one.needs})


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNING, ids=lambda page: page.name)
def test_python_of_a_page_runs_from_top_to_bottom(page: Path, place: Path) -> None:
    pages.save(page, place)
    names: dict[str, object] = {}
    for block in PYTHON:
        if block.page == page and not block.needs:
            code = "\n" * block.line + block.text
            exec(compile(code, str(page), "exec"), names)
