"""One experiment with several seeds: each run once, gone on with, and aggregated."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fedsafe import run_seeds
from fedsafe.cli import main
from fedsafe.errors import ConfigError, RunError
from fedsafe.experiment import Experiment
from fedsafe.experiment.seed_list import seed_list
from fedsafe.library import read_run
from fedsafe.models.adapters import digest, load
from fedsafe.pipeline.seeds import aggregate_seeds
from fedsafe.runs.events import Event
from fedsafe.runs.records import Scores
from fedsafe.runs.seed_records import Difference, SeedStage, SeedSummary
from fedsafe.runs.store import Store


@pytest.fixture(scope="module")
def two(
    experiment: Experiment, flower_task: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, SeedSummary]:
    home = tmp_path_factory.mktemp("seeds") / "runs"
    return home, run_seeds(experiment, "0-1", home)


@pytest.fixture
def copied(two: tuple[Path, SeedSummary], tmp_path: Path) -> Path:
    return Path(shutil.copytree(two[0], tmp_path / "runs"))


def adapters(home: Path) -> list[str]:
    """Return the sha256 of each run's tensors; the order of a file's metadata varies."""
    paths = sorted(home.glob("seed-*/adapter"))
    return [digest(load(path)) for path in paths]


def named(summary: SeedSummary, name: str) -> SeedStage:
    return next(stage for stage in summary.stages if stage.name == name)


def difference(summary: SeedSummary, after: str, measure: str) -> Difference:
    return next(
        found for found in summary.differences if (found.after, found.measure) == (after, measure)
    )


def defend(home: Path, seed: int, *, failed: bool) -> None:
    """Add a defended stage that is the base, or that failed."""
    store = Store(home / f"seed-{seed}")
    summary = store.summary()
    assert summary is not None
    base = summary.stages[0]
    empty = {"adapter": "", "path": "", "evaluation": "", "judge": "", "scores": Scores()}
    lost = {"status": "failed", "reason": "too few pairs", **empty}
    stage = base.model_copy(update={"name": "defended:x", **(lost if failed else {})})
    stages = [*summary.stages, stage]
    store.write_summary(summary.model_copy(update={"stages": stages}))


def test_each_seed_has_a_run_of_its_own(two: tuple[Path, SeedSummary]) -> None:
    home, summary = two
    assert [read_run(home / f"seed-{seed}").experiment.seed for seed in (0, 1)] == [0, 1]
    assert (summary.seeds, summary.runs) == ([0, 1], {0: "seed-0", 1: "seed-1"})
    assert len(set(adapters(home))) == 2
    assert all((home / f"seed-{seed}" / "report.html").is_file() for seed in (0, 1))


def test_record_is_what_was_returned(two: tuple[Path, SeedSummary]) -> None:
    home, summary = two
    assert SeedSummary.model_validate(json.loads((home / "seeds.json").read_text())) == summary


def test_spread_is_that_of_the_runs(two: tuple[Path, SeedSummary]) -> None:
    home, summary = two
    for seed in (0, 1):
        stages = read_run(home / f"seed-{seed}").stages.set_index("name")
        for stage in summary.stages:
            for key, spread in stage.measures.items():
                assert spread.seeds[seed] == stages.loc[stage.name, key]
    spread = named(summary, "trained").measures["garbage"]
    values = list(spread.seeds.values())
    assert (spread.mean, spread.sd) == pytest.approx((np.mean(values), np.std(values, ddof=1)))


def test_differences_pair_prompts_and_pool_seeds(two: tuple[Path, SeedSummary]) -> None:
    home, summary = two
    changes: Counter[tuple[bool, bool]] = Counter()
    for seed in (0, 1):
        exchanges = read_run(home / f"seed-{seed}").exchanges.query("condition == 'plain'")
        wide = exchanges.pivot_table("outcome", "id", "stage", aggfunc="first") == "garbage"
        changes.update(zip(wide["base"], wide["trained"], strict=True))
    found = difference(summary, "trained", "garbage")
    assert (found.before, found.pairs) == ("base", changes.total())
    assert (found.gained, found.lost) == (changes[False, True], changes[True, False])
    assert found.mean == pytest.approx(
        (changes[False, True] - changes[True, False]) / changes.total()
    )


def test_completed_runs_are_not_run_again(
    two: tuple[Path, SeedSummary], experiment: Experiment
) -> None:
    home, summary = two
    heard: list[Event] = []
    before = (home / "seeds.json").read_bytes()
    assert run_seeds(experiment, [1, 0], home, listen=heard.append) == summary
    assert heard == []
    assert (home / "seeds.json").read_bytes() == before


def test_interrupted_run_goes_on_to_the_same_adapter(
    two: tuple[Path, SeedSummary], experiment: Experiment, flower_task: None, tmp_path: Path
) -> None:
    rounds: list[Event] = []

    def stop(event: Event) -> None:
        if event.kind == "round-end":
            rounds.append(event)
            if len(rounds) == 3:  # the first round of the second seed
                raise KeyboardInterrupt

    home = tmp_path / "runs"
    with pytest.raises(KeyboardInterrupt):
        run_seeds(experiment, "0,1", home, listen=stop)
    assert not (home / "seeds.json").exists()
    heard: list[Event] = []
    found = run_seeds(experiment, "0,1", home, listen=heard.append)
    assert sum(event.kind == "round-end" for event in heard) == 1
    assert adapters(home) == adapters(two[0])
    assert found.stages == two[1].stages


def test_failed_defense_counts_as_the_model_it_was_to_defend(
    copied: Path, experiment: Experiment
) -> None:
    defend(copied, 0, failed=False)
    defend(copied, 1, failed=True)
    summary = aggregate_seeds(copied, experiment, [0, 1])
    base, trained = named(summary, "base"), named(summary, "trained")
    defended = named(summary, "defended:x")
    assert defended.failed == [1]
    assert set(defended.measures) == set(trained.measures)
    for key, spread in defended.measures.items():
        assert spread.seeds == {0: base.measures[key].seeds[0], 1: trained.measures[key].seeds[1]}
    assert difference(summary, "defended:x", "garbage").pairs == (
        difference(summary, "trained", "garbage").pairs
    )


def test_defense_that_failed_with_every_seed_is_no_missing_row(
    copied: Path, experiment: Experiment
) -> None:
    for seed in (0, 1):
        defend(copied, seed, failed=True)
    summary = aggregate_seeds(copied, experiment, [0, 1])
    defended = named(summary, "defended:x")
    assert defended.failed == [0, 1]
    assert defended.measures == named(summary, "trained").measures
    found = difference(summary, "defended:x", "refusal")
    assert (found.mean, found.gained, found.lost, found.p_value) == (0.0, 0, 0, 1.0)


def test_failed_defense_counts_behind_a_shield_as_the_bare_model(
    copied: Path, experiment: Experiment
) -> None:
    defend(copied, 0, failed=False)
    defend(copied, 1, failed=True)
    store = Store(copied / "seed-0")
    summary = store.summary()
    assert summary is not None
    stage = summary.stages[-1]
    rates = {**stage.scores.measures, "unsafe@shielded": stage.scores.measures["unsafe"]}
    shielded = stage.scores.model_copy(update={"measures": rates})
    stages = [*summary.stages[:-1], stage.model_copy(update={"scores": shielded})]
    store.write_summary(summary.model_copy(update={"stages": stages}))
    found = aggregate_seeds(copied, experiment, [0, 1])
    served = named(found, "defended:x").measures["unsafe@shielded"]
    assert served.seeds[1] == named(found, "trained").measures["unsafe"].seeds[1]


def test_replies_that_were_changed_are_an_error(copied: Path, experiment: Experiment) -> None:
    for path in (copied / "seed-0" / "evaluations").glob("trained-*/exchanges.jsonl"):
        path.write_text(path.read_text().replace("reply", "reply ", 1))
    with pytest.raises(RunError, match="missing or were changed"):
        aggregate_seeds(copied, experiment, [0, 1])


def test_run_that_is_missing_is_an_error(copied: Path, experiment: Experiment) -> None:
    with pytest.raises(RunError, match="seed-2"):
        aggregate_seeds(copied, experiment, [0, 2])


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0-4", [0, 1, 2, 3, 4]), ("0,3,7", [0, 3, 7]), (" 7, 0-2 ", [0, 1, 2, 7]), ("5", [5])],
)
def test_seeds_are_read(text: str, seeds: list[int]) -> None:
    assert seed_list(text) == seeds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no seed nor a range"),
        ("a", "'a' is no seed nor a range"),
        ("-1", "'-1' is no seed nor a range"),
        ("1.5", "is no seed nor a range"),
        ("4-0", "ends before it begins"),
        ("0-2,2", "2 is given twice"),
        ("0-999999999", "at most 1000"),
        ("9999999999999999999", "is no seed"),
    ],
)
def test_seeds_that_are_wrong_are_a_sentence(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        seed_list(text)


@pytest.mark.parametrize("seeds", [[], [-1], [True], [1, 1], [0.5]])
def test_numbers_that_are_no_seeds_are_a_sentence(seeds: list[int]) -> None:
    with pytest.raises(ConfigError, match="seeds: "):
        seed_list(seeds)


def test_directory_of_a_single_run_is_refused(
    two: tuple[Path, SeedSummary], experiment: Experiment
) -> None:
    with pytest.raises(RunError, match="holds a single run"):
        run_seeds(experiment, "0", two[0] / "seed-0")


def test_runs_of_another_experiment_are_refused_before_any_runs(
    two: tuple[Path, SeedSummary], experiment: Experiment
) -> None:
    with pytest.raises(RunError, match="holds another experiment"):
        run_seeds(experiment, "0-2", two[0], changes=["federation.rounds=1"])
    assert not (two[0] / "seed-2").exists()


def test_command_shows_the_aggregate_of_finished_runs(
    two: tuple[Path, SeedSummary], capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(two[0])
    source = str(two[0] / "seed-0" / "experiment.yaml")
    assert main(["run", source, "--seeds", "0-1", "-o", home]) == 0
    out = capsys.readouterr().out
    assert "over seeds 0, 1" in out
    assert "base → trained" in out
    assert "seeds.json" in out
    assert main(["run", source, "--seeds", "0-1", "-o", home, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["kind"], told["seeds"]) == ("seeds", [0, 1])


def test_command_refuses_seeds_and_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "micro", "--seeds", "0-1", "--set", "seed=3", "--dry-run"]) != 0
    assert "not both" in capsys.readouterr().err


def test_command_dry_run_shows_every_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "micro", "--seeds", "0,3", "--dry-run", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["experiment"]["seed"] for line in told] == [0, 3]
    assert [Path(line["directory"]).name for line in told] == ["seed-0", "seed-3"]
    assert list(tmp_path.iterdir()) == []


def test_command_overwrites_runs_of_another_experiment(
    copied: Path, flower_task: None, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(copied.parent / "changed.yaml")
    text = (copied / "seed-0" / "experiment.yaml").read_text()
    Path(source).write_text(text.replace("rounds: 2", "rounds: 1"))
    command = ["run", source, "--seeds", "0,2", "-o", str(copied)]
    assert main(command) != 0
    assert "holds another experiment" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "--overwrite"]) == 0
    assert [len(read_run(copied / f"seed-{seed}").rounds) for seed in (0, 2)] == [1, 1]
    record = json.loads((copied / "seeds.json").read_text())
    assert record["seeds"] == [0, 2]
