"""`fedsafe config` and `fedsafe plugins`: list, show and validate; nothing is run."""

import json
from pathlib import Path

import pytest

from fedsafe.cli import main
from tests.unit.fedsafe.cli.conftest import ScriptedRuntime
from tests.unit.fedsafe.report.synthetic import write_run

Capture = pytest.CaptureFixture[str]


def test_config_lists_shows_and_validates(runtime: ScriptedRuntime, capsys: Capture) -> None:
    assert main(["config", "list"]) == 0
    assert "micro-quick" in capsys.readouterr().out
    assert main(["config", "list", "--json"]) == 0
    assert "micro" in json.loads(capsys.readouterr().out)
    assert main(["config", "show", "micro"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("#")
    Path("my.yaml").write_text(text)
    assert main(["config", "validate", "my.yaml"]) == 0
    assert "my.yaml is valid." in capsys.readouterr().out
    assert main(["config", "validate", "my.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["valid"] is True


def test_config_validate_says_what_memory_a_local_model_takes(
    runtime: ScriptedRuntime, capsys: Capture, llama: Path
) -> None:
    change = ["--set", f"model.path={llama}", "--set", "model.device=cpu"]
    assert main(["config", "validate", "micro", *change]) == 0
    assert "A process that trains takes up to 0.0 GiB on cpu." in capsys.readouterr().out
    assert main(["config", "validate", "micro", *change, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["memory"]["cpu"] > 0


def test_config_validate_lists_every_problem(runtime: ScriptedRuntime, capsys: Capture) -> None:
    Path("bad.yaml").write_text("seed: -1\nfederation: {roundz: 3, clients: none}\n")
    assert main(["config", "validate", "bad.yaml"]) == 2
    err = capsys.readouterr().err
    assert "bad.yaml has 3 problems:" in err
    assert "Did you mean 'rounds'?" in err


def test_plugins_list_groups_by_kind(runtime: ScriptedRuntime, capsys: Capture) -> None:
    assert main(["plugins", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "rule" in lines
    assert "defense" in lines
    assert any(line.strip().startswith("krum ") for line in lines)
    assert main(["plugins", "list", "rules", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["rule"]
    assert {"name", "summary", "badge"} == set(found["rule"][0])


def test_plugins_show_says_all_of_one(runtime: ScriptedRuntime, capsys: Capture) -> None:
    assert main(["plugins", "show", "rule", "krum"]) == 0
    out = capsys.readouterr().out
    for said in ("Blanchard", "at least 2f + 3 clients a round", "byzantine", "integer ≥ 0"):
        assert said in out
    assert "Raises:" not in out
    assert main(["plugins", "show", "rule", "krum", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["settings"][0] == {
        "name": "byzantine", "type": "integer ≥ 0", "required": False, "default": 1,
        "help": told["settings"][0]["help"],
    }  # fmt: skip


OWN_JUDGE = """
from fedsafe.contracts import Verdict


def silent(exchanges, /):
    \"\"\"Know nothing.\"\"\"
    return [Verdict("unknown") for _ in exchanges]
"""


def test_plugin_of_the_current_directory_is_shown(
    runtime: ScriptedRuntime, capsys: Capture
) -> None:
    Path("own_judge_of_test.py").write_text(OWN_JUDGE)
    assert main(["plugins", "show", "judge", "own_judge_of_test:silent"]) == 0
    assert "Know nothing." in capsys.readouterr().out


def test_no_module_that_lies_in_the_run_directory_is_imported(
    runtime: ScriptedRuntime, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(Path("run"), rounds=3)
    Path("run/judge_handed_on.py").write_text(OWN_JUDGE)
    monkeypatch.chdir("run")
    assert main(["judge", ".", "--with", "judge_handed_on:silent"]) == 2
    assert "judge_handed_on" in capsys.readouterr().err


def test_run_is_judged_with_a_plugin_of_the_current_directory(runtime: ScriptedRuntime) -> None:
    write_run(Path("run"), rounds=3)
    Path("own_judge_of_test.py").write_text(OWN_JUDGE)
    assert main(["judge", "run", "--with", "own_judge_of_test:silent"]) == 0
    assert runtime.calls[0][2].name == "own_judge_of_test:silent"
