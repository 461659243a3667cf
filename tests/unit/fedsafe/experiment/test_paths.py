"""Paths and plug-in modules are found beside the experiment's file."""

from pathlib import Path

import pytest

from fedsafe.errors import ConfigError
from fedsafe.experiment.load import as_yaml, load

ROW = '{"instruction": "say a", "response": "a"}\n'
TEXT = "preset: micro\ndata: {source: {name: jsonl, path: rows.jsonl}}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an experiment and its data; the current directory is another."""
    home = tmp_path / "project"
    home.mkdir()
    (home / "rows.jsonl").write_text(ROW)
    (home / "my.yaml").write_text(TEXT)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return home


def test_path_in_a_file_is_relative_to_it(project: Path) -> None:
    assert load(project / "my.yaml").data.source.settings["path"] == str(project / "rows.jsonl")


def test_path_of_a_preset_file_is_relative_to_that_one(project: Path) -> None:
    child = project.parent / "child.yaml"
    child.write_text("preset: project/my.yaml\nseed: 4\n")
    found = load(child)
    assert (found.seed, found.data.source.settings["path"]) == (4, str(project / "rows.jsonl"))


def test_path_in_a_change_is_relative_to_the_current_directory(project: Path) -> None:
    Path("here.jsonl").write_text(ROW)
    found = load(project / "my.yaml", ["data.source.path=here.jsonl"])
    assert found.data.source.settings["path"] == str(Path.cwd() / "here.jsonl")


def test_home_directory_is_expanded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    found = load("micro", ["data.source={name: jsonl, path: ~/rows.jsonl}"])
    assert found.data.source.settings["path"] == "/somewhere/rows.jsonl"


def test_path_that_is_nowhere_stays_as_it_is_written(project: Path) -> None:
    found = load(project / "my.yaml", ["data.source.path=gone.jsonl"])
    assert found.data.source.settings["path"] == "gone.jsonl"


def test_model_directory_is_relative_to_the_file(project: Path) -> None:
    (project / "llama").mkdir()
    (project / "my.yaml").write_text("model: {path: llama}\n")
    assert load(project / "my.yaml").model.path == str(project / "llama")


def test_paths_in_lists_and_in_plugins_by_path_are_placed(project: Path) -> None:
    (project / "prompts.csv").write_text("prompt\nsay a\n")
    (project / "placed_suite.py").write_text(
        "from pathlib import Path\n"
        "def suite(seed, /, *, table: Path):\n    '''Read a table.'''\n    return []\n"
    )
    (project / "my.yaml").write_text(
        "evaluation: {suites: [micro, {name: csv, purpose: harmful, path: prompts.csv},"
        " {name: 'placed_suite:suite', table: prompts.csv}]}"
    )
    _, csv, own = load(project / "my.yaml").evaluation.suites
    assert csv.settings["path"] == own.settings["table"] == str(project / "prompts.csv")


def test_run_directory_keeps_the_paths_that_it_began_with(project: Path) -> None:
    run = project / "run"
    run.mkdir()
    (run / "experiment.yaml").write_text(as_yaml(load("paper")))
    (run / "benign.jsonl").write_text(ROW)
    Path("benign.jsonl").write_text(ROW)
    assert load(run).data.source.settings["path"] == "benign.jsonl"


def _rule(where: Path, name: str, answer: int) -> None:
    (where / f"{name}.py").write_text(
        f"def rule(updates, state, /):\n    '''Rule {answer}.'''\n    return {answer}\n"
    )


@pytest.mark.parametrize("where", ["project", "elsewhere"])
def test_module_beside_the_file_or_here_is_found(project: Path, where: str) -> None:
    _rule(project.parent / where, f"rules_{where}", 1)
    found = load(project / "my.yaml", [f"federation.strategy.name=rules_{where}:rule"])
    assert found.federation.strategy.name == f"rules_{where}:rule"


def test_module_of_the_same_name_beside_another_file_is_another(project: Path) -> None:
    from fedsafe.contracts import rules

    for answer, name in enumerate(("one", "two")):
        home = project / name
        home.mkdir()
        _rule(home, "rules_twice", answer)
        (home / "my.yaml").write_text("federation: {strategy: rules_twice:rule}\n")
        load(home / "my.yaml")
        assert rules["rules_twice:rule"].summary == f"Rule {answer}."


def test_module_with_a_mistake_is_named_with_it(project: Path) -> None:
    (project / "rules_broken.py").write_text("import nowhere_at_all\n")
    with pytest.raises(ConfigError, match=r"rules_broken:rule' was not found: .*nowhere_at_all"):
        load(project / "my.yaml", ["federation.strategy.name=rules_broken:rule"])


def test_module_shadows_no_installed_package(project: Path) -> None:
    _rule(project, "yaml", 3)
    with pytest.raises(ConfigError, match=r"Module 'yaml' \(.*site-packages.* has no 'rule'"):
        load(project / "my.yaml", ["federation.strategy.name=yaml:rule"])
