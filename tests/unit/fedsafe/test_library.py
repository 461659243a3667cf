"""FedSafe from Python: run, and read a run as frames."""

from pathlib import Path

import pandas as pd
import pytest

import fedsafe
from fedsafe import load_experiment, read_run, run
from fedsafe.errors import ConfigError, RunError
from fedsafe.experiment import Experiment
from fedsafe.library import RunFrames
from fedsafe.runs.events import Event
from fedsafe.runs.store import Store


@pytest.fixture(scope="module")
def frames(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> RunFrames:
    return run(experiment, tmp_path_factory.mktemp("library") / "run")


def test_run_returns_what_read_run_reads(frames: RunFrames) -> None:
    again = read_run(str(frames.directory))
    for name in ("stages", "rounds", "clients", "exchanges"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(frames, name))


def test_stages_have_their_scores(frames: RunFrames) -> None:
    assert list(frames.stages["name"]) == ["base", "trained"]
    assert frames.stages.set_index("name").loc["trained", "refusal.n"] == 2


def test_rounds_have_a_row_each(frames: RunFrames, experiment: Experiment) -> None:
    assert list(frames.rounds["round"]) == list(range(1, experiment.federation.rounds + 1))
    assert set(frames.rounds["accepted"]) == {experiment.federation.clients}
    assert set(frames.rounds["federation"]) == {"main"}


def test_clients_have_a_row_a_round(frames: RunFrames, experiment: Experiment) -> None:
    assert len(frames.clients) == experiment.federation.rounds * experiment.federation.clients
    shares = frames.clients.groupby("round")["influence"].sum()
    assert list(shares.round(5)) == [1.0] * experiment.federation.rounds


def test_exchanges_have_reply_and_outcome(frames: RunFrames) -> None:
    assert set(frames.exchanges["stage"]) == {"base", "trained"}
    assert frames.exchanges["outcome"].isin(["refuse", "comply", "garbage", "unknown"]).all()
    assert frames.exchanges["reply"].map(type).eq(str).all()


def test_run_leaves_the_report(frames: RunFrames) -> None:
    assert (frames.directory / "report.html").is_file()


def test_run_takes_a_mapping_changes_and_a_listener(experiment: Experiment, tmp_path: Path) -> None:
    heard: list[Event] = []
    values = experiment.model_dump(mode="json")
    found = run(values, tmp_path / "run", changes=["federation.rounds=1"], listen=heard.append)
    assert len(found.rounds) == 1
    assert heard[-1].kind == "run-end"


def test_run_that_has_only_begun_is_read(experiment: Experiment, tmp_path: Path) -> None:
    Store(tmp_path).open(experiment)
    found = read_run(tmp_path)
    assert (found.summary, len(found.rounds), len(found.exchanges)) == (None, 0, 0)


def test_directory_that_is_no_run_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run directory"):
        read_run(tmp_path)


def test_experiment_that_is_wrong_has_its_problems() -> None:
    with pytest.raises(ConfigError) as caught:
        load_experiment("micro", ["rounds=3"])
    assert caught.value.problems[0][0] == "rounds"


def test_package_names_what_it_offers() -> None:
    assert {"aggregate", "load_experiment", "read_run", "run"} <= set(dir(fedsafe))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fedsafe.nothing  # noqa: B018
