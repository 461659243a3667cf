"""The README's words hold: its library example runs, its tree is the tree."""

import re
from pathlib import Path

import pytest

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
