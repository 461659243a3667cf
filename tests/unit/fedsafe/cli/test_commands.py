"""What each command does, prints and returns."""

import json
from pathlib import Path

import pytest

from fedsafe.cli import main
from fedsafe.cli.tables import before_after
from fedsafe.errors import RunError
from fedsafe.runs.records import Summary
from tests.unit.fedsafe.cli.conftest import ScriptedRuntime
from tests.unit.fedsafe.report.synthetic import write_run

Capture = pytest.CaptureFixture[str]


def test_run_shows_rounds_table_and_paths(runtime: ScriptedRuntime, capsys: Capture) -> None:
    assert main(["run", "micro", "-o", "out"]) == 0
    out = capsys.readouterr().out
    assert "Federation, 3 rounds" in out
    assert "1/3    10/10" in out
    assert "a drop of 85.0 points" in " ".join(out.split())
    assert "out/summary.json" in out
    assert "out/report.html" in out
    assert Path("out/report.html").is_file()


def test_run_takes_the_micro_preset_and_its_own_directory(runtime: ScriptedRuntime) -> None:
    assert main(["run"]) == 0
    ((_, name, directory),) = runtime.calls
    assert name == "micro"
    assert str(directory).startswith("runs/micro-")


def test_run_changes_settings(runtime: ScriptedRuntime, capsys: Capture) -> None:
    code = main(["run", "micro", "--set", "federation.rounds=2", "--set", "seed=7", "--dry-run"])
    out = capsys.readouterr().out
    assert code == 0
    assert "rounds: 2" in out
    assert "seed: 7" in out
    assert runtime.calls == []
    assert list(Path().iterdir()) == []


def test_run_dry_as_json(runtime: ScriptedRuntime, capsys: Capture) -> None:
    assert main(["run", "micro", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["experiment"]["name"] == "micro"
    assert told["directory"].startswith("runs/micro-")


def test_run_as_json_ends_in_the_summary(runtime: ScriptedRuntime, capsys: Capture) -> None:
    assert main(["run", "micro", "-o", "out", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["kind"] == "summary"
    assert lines[-1]["status"] == "completed"
    assert lines[-1]["stages"][0]["name"] == "base"
    assert lines[-1]["report"] == "out/report.html"
    client = next(line for line in lines if line["kind"] == "client")
    assert client["loss"] is None


def test_run_that_is_complete_is_only_shown(runtime: ScriptedRuntime, capsys: Capture) -> None:
    main(["run", "micro", "-o", "out"])
    assert main(["run", "micro", "-o", "out"]) == 0
    assert len(runtime.calls) == 1
    assert "out holds this experiment, completed; nothing to run." in capsys.readouterr().out


def test_run_that_is_unfinished_says_how_to_go_on(
    runtime: ScriptedRuntime, capsys: Capture
) -> None:
    main(["run", "micro", "-o", "out"])
    Path("out/summary.json").unlink()
    assert main(["run", "micro", "-o", "out"]) == 1
    assert "Go on with `fedsafe resume out`" in capsys.readouterr().err


def test_run_refuses_a_directory_of_another_experiment(
    runtime: ScriptedRuntime, capsys: Capture
) -> None:
    main(["run", "micro", "-o", "out"])
    assert main(["run", "micro", "--set", "seed=9", "-o", "out"]) == 1
    assert "holds another experiment" in capsys.readouterr().err
    assert main(["run", "micro", "--set", "seed=9", "-o", "out", "--overwrite"]) == 0


def test_run_refuses_a_directory_of_other_things(runtime: ScriptedRuntime, capsys: Capture) -> None:
    Path("out").mkdir()
    Path("out/thesis.tex").write_text("mine")
    assert main(["run", "micro", "-o", "out"]) == 1
    assert main(["run", "micro", "-o", "out", "--overwrite"]) == 1
    assert main(["run", "micro", "-o", "out/thesis.tex"]) == 1
    assert Path("out/thesis.tex").read_text() == "mine"
    assert runtime.calls == []
    assert capsys.readouterr().err.count("error:") == 3


def test_run_interrupted_says_how_to_go_on(runtime: ScriptedRuntime, capsys: Capture) -> None:
    runtime.raising = KeyboardInterrupt()
    assert main(["run", "micro", "-o", "out"]) == 130
    assert "Go on with `fedsafe resume out`." in capsys.readouterr().err
    assert Path("out/report.html").is_file()


def test_run_that_fails_is_one_sentence(runtime: ScriptedRuntime, capsys: Capture) -> None:
    runtime.raising = RunError("Round 2 had 1 reply; at least 5 are needed.")
    assert main(["run", "micro", "-o", "out"]) == 1
    err = capsys.readouterr().err
    assert err == "error: Round 2 had 1 reply; at least 5 are needed.\n"
    assert Path("out/report.html").is_file()


def test_run_that_breaks_names_the_way_to_the_traceback(
    runtime: ScriptedRuntime, capsys: Capture
) -> None:
    runtime.raising = ZeroDivisionError("division by zero\nsecond line")
    assert main(["run", "micro", "-o", "out"]) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError: division by zero. Run it again with --debug" in err
    assert "second line" not in err


def test_debug_shows_the_traceback(runtime: ScriptedRuntime) -> None:
    runtime.raising = RunError("broken")
    with pytest.raises(RunError):
        main(["run", "micro", "-o", "out", "--debug"])


def test_resume_goes_on(runtime: ScriptedRuntime, capsys: Capture) -> None:
    write_run(Path("out"), rounds=3)
    assert main(["resume", "out"]) == 0
    assert runtime.calls == [("resume", Path("out"))]
    assert "Refusal" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", [["resume"], ["evaluate"], ["report"], ["defend", "--with", "fine-tune"]]
)
def test_commands_refuse_what_is_no_run(
    runtime: ScriptedRuntime, capsys: Capture, command: list[str]
) -> None:
    assert main([*command, "nowhere"]) == 1
    assert "nowhere is no run directory: it does not exist." in capsys.readouterr().err


def test_defend_passes_settings_on(runtime: ScriptedRuntime) -> None:
    write_run(Path("out"), rounds=3)
    assert main(["defend", "out", "--with", "fine-tune", "--set", "steps=3"]) == 0
    assert runtime.calls == [("defend", Path("out"), [[{"name": "fine-tune", "steps": 3}]])]


def test_second_attack_needs_no_new_defense_but_a_run(
    runtime: ScriptedRuntime, capsys: Capture
) -> None:
    write_run(Path("out"), rounds=3)
    assert main(["defend", "out", "--second-attack", "3"]) == 0
    assert runtime.calls == [("defend", Path("out"), [], 3)]
    adapter = ["--model", "micro", "--adapter", "a", "-o", "b", "--with", "antidote"]
    assert main(["defend", *adapter, "--second-attack", "3"]) == 2
    assert "an adapter alone has no federation" in capsys.readouterr().err


def test_defend_without_a_defense_is_a_sentence(runtime: ScriptedRuntime, capsys: Capture) -> None:
    assert main(["defend", "out"]) == 2
    assert "Name a defense with --with" in capsys.readouterr().err


def test_defend_refuses_a_wrong_setting_before_any_work(
    runtime: ScriptedRuntime, capsys: Capture
) -> None:
    write_run(Path("out"), rounds=3)
    assert main(["defend", "out", "--with", "fine-tune", "--set", "stepz=3"]) == 2
    assert "Did you mean 'steps'?" in capsys.readouterr().err
    assert main(["defend", "out", "--with", "fine-tun"]) == 2
    assert "Did you mean 'fine-tune'?" in capsys.readouterr().err
    assert main(["defend", "out", "--with", "fine-tune", "--set", "steps"]) == 2
    assert runtime.calls == []


def test_defend_takes_an_adapter_from_anywhere(runtime: ScriptedRuntime, capsys: Capture) -> None:
    command = ["defend", "--model", "m", "--adapter", "a", "--with", "fine-tune", "-o", "repaired"]
    assert main([*command, "--experiment", "micro"]) == 0
    assert runtime.calls[0][:5] == (
        "defend_adapter", "m", Path("a"), [[{"name": "fine-tune"}]], Path("repaired"),
    )  # fmt: skip
    out = capsys.readouterr().out
    assert "Refusal" in out
    assert "repaired/report.html" in out
    assert "adapter  repaired/" in out


def test_defend_of_a_real_model_wants_its_experiment(capsys: Capture) -> None:
    command = ["defend", "--model", "m", "--adapter", "a", "--with", "fine-tune", "-o", "repaired"]
    assert main(command) == 2
    assert "Give --experiment" in capsys.readouterr().err


def test_defend_wants_a_run_or_an_adapter(runtime: ScriptedRuntime, capsys: Capture) -> None:
    write_run(Path("out"), rounds=3)
    assert main(["defend", "--with", "fine-tune", "--model", "m"]) == 2
    assert main(["defend", "out", "--with", "fine-tune", "--model", "m"]) == 2
    assert main(["defend", "out"]) == 2
    err = capsys.readouterr().err
    assert "give all of --model, --adapter and -o" in err
    assert "not both" in err
    assert "Name a defense with --with" in err


def test_evaluate_passes_the_judge_on(runtime: ScriptedRuntime, capsys: Capture) -> None:
    write_run(Path("out"), rounds=3)
    assert main(["evaluate", "out", "--judge", "keyword"]) == 0
    assert runtime.calls[0][2].name == "keyword"
    assert main(["evaluate", "out"]) == 0
    assert runtime.calls[1][2] is None
    assert main(["evaluate", "out", "--set", "a=1"]) == 2
    assert main(["evaluate", "out", "--judge", "nobody"]) == 2


def test_judge_passes_its_judges_on_and_loads_no_model(runtime: ScriptedRuntime) -> None:
    write_run(Path("out"), rounds=3)
    assert main(["judge", "out", "--with", "refusal", "--with", "keyword"]) == 0
    assert runtime.calls[0][2].name == "refusal"
    assert runtime.calls[0][3:] == (["keyword"], False)


def test_report_prints_its_path(runtime: ScriptedRuntime, capsys: Capture) -> None:
    write_run(Path("out"), rounds=3)
    assert main(["report", "out"]) == 0
    assert capsys.readouterr().out == "out/report.html\n"
    assert main(["report", "out", "--reveal", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": "out/report-revealed.html"}


def test_table_says_whose_numbers_it_shows(runtime: ScriptedRuntime, capsys: Capture) -> None:
    stages = [
        {"name": "base", "judge": "keyword"}, {"name": "clean", "judge": "micro-exact"}
    ]  # fmt: skip
    summary = Summary.model_validate(
        {
            "name": "x",
            "experiment": "",
            "status": "completed",
            "stages": [_stage(s) for s in stages],
        }
    )
    before_after(summary)
    out = " ".join(capsys.readouterr().out.split())
    assert "judged by different judges and not comparable" in out
    assert "base by keyword, clean by micro-exact" in out
    alike = {"stages": [stage.model_copy(update={"judge": "keyword"}) for stage in summary.stages]}
    before_after(summary.model_copy(update=alike))
    assert "judged by keyword" in capsys.readouterr().out


def _stage(given: dict[str, str]) -> dict[str, object]:
    return {**given, "adapter": "", "path": "", "scores": {}, "seconds": 1.0, "evaluation": ""}


def test_error_is_one_object_for_programs(runtime: ScriptedRuntime, capsys: Capture) -> None:
    assert main(["run", "micro", "--set", "rounds=3", "--set", "seed=true", "--json"]) == 2
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert (told["kind"], told["code"], said.err) == ("error", 2, "")
    assert [problem["path"] for problem in told["problems"]] == ["seed", "rounds"]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["runn", "--json"], 2),
        (["run", "--jsonn", "--json"], 2),
        (["resume", "nowhere", "--json"], 1),
        (["report", "nowhere", "--json"], 1),
        (["config", "validate", "gone.yaml", "--json"], 2),
        (["plugins", "list", "ruel", "--json"], 2),
        (["plugins", "show", "rule", "krun", "--json"], 2),
    ],
)
def test_every_error_is_json_where_it_was_asked_for(
    runtime: ScriptedRuntime, capsys: Capture, command: list[str], code: int
) -> None:
    assert main(command) == code
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["code"]) == ("error", code)


def test_failed_run_is_the_last_json_line(runtime: ScriptedRuntime, capsys: Capture) -> None:
    runtime.raising = RunError("Round 2 had 1 reply; at least 5 are needed.")
    assert main(["run", "micro", "-o", "out", "--json"]) == 1
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["message"] == "Round 2 had 1 reply; at least 5 are needed."


@pytest.mark.parametrize("command", [["runn"], ["run", "--overwrit"], ["config", "validat"]])
def test_suggestion_is_made_once(
    runtime: ScriptedRuntime, capsys: Capture, command: list[str]
) -> None:
    assert main(command) == 2
    assert capsys.readouterr().err.count("Did you mean") == 1


def test_foreign_text_is_printed_as_it_is(runtime: ScriptedRuntime, capsys: Capture) -> None:
    main(["run", "micro", "-o", "out"])
    out = capsys.readouterr().out
    assert "[bold]foreign[/bold] [2Jnote" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    "command",
    [
        ["run", "nopreset"],
        ["run", "micro", "--set", "federation.strategy.name=krun"],
        ["run", "missing.yaml"],
        ["config", "show", "nope"],
        ["plugins", "list", "ruel"],
        ["plugins", "show", "rule", "krun"],
        ["nothing"],
        ["run", "--nothing"],
    ],
)
def test_what_is_asked_wrongly_is_exit_code_2(
    runtime: ScriptedRuntime, capsys: Capture, command: list[str]
) -> None:
    assert main(command) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    assert captured.out == ""
