"""What TensorBoard, MLflow, trackio and Weights & Biases hold of a run, read by their own code."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fedsafe.cli import main
from fedsafe.experiment.load import validate
from fedsafe.integrations.figures import round_figures, settings_of, stage_figures
from fedsafe.redaction import MASK
from fedsafe.runs.store import Store

Points = dict[str, list[tuple[int, float]]]
"""Values with their steps, by name."""


def _tensorboard(store: Path) -> Points:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(store / "run"))
    found.Reload()
    names = found.Tags()["scalars"]
    return {name: [(one.step, one.value) for one in found.Scalars(name)] for name in names}


def _mlflow(store: Path) -> Points:
    client = pytest.importorskip("mlflow").MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    (found,) = client.search_runs(["1"])
    assert found.info.status == "FINISHED"
    assert found.data.params["federation.rounds"] == "2"
    return {
        name: [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, name)]
        for name in found.data.metrics
    }


def _trackio(store: Path) -> Points:
    code = (
        "import json; from trackio import SQLiteStorage as S; assert S.get_runs('fedsafe') == "
        "['run']; print(json.dumps(S.get_logs('fedsafe', 'run')))"
    )
    environment = {**os.environ, "TRACKIO_DIR": str(store)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True, timeout=60
    )
    found: Points = {}
    for row in json.loads(done.stdout.splitlines()[-1]):
        for name, value in row.items():
            if "/" in name:
                found.setdefault(name, []).append((row["step"], value))
    return found


READERS: dict[str, Callable[[Path], Points]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "trackio": _trackio,
}


def _export(run: Path, tracker: str, store: Path) -> None:
    arguments = ["export", str(run), "--to", tracker, "-o", str(store)]
    if tracker == "trackio":  # it keeps to one directory in a process
        subprocess.run([sys.executable, "-m", "fedsafe", *arguments], check=True, timeout=120)
    else:
        assert main(arguments) == 0


@pytest.fixture(params=sorted(READERS))
def tracker(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param, reason=f"pip install 'fedsafe[{request.param}]'")
    return str(request.param)


@pytest.mark.filterwarnings("default")  # the trackers' own
def test_a_tracker_holds_rounds_by_step_and_stages_once(
    finished: Path, tmp_path: Path, tracker: str
) -> None:
    for _ in range(2):  # the second takes the place of the first
        _export(finished, tracker, tmp_path)
    found = READERS[tracker](tmp_path)
    store = Store(finished)
    for record in store.rounds():
        for name, value in round_figures(record).items():
            points = dict(found[f"main/{name.replace('@', '.')}" if tracker == "mlflow"
                                else f"main/{name}"])  # fmt: skip
            assert points[record.round] == pytest.approx(value, rel=1e-6)
    assert [step for step, _ in found["main/loss"]] == [1, 2]
    summary = store.summary()
    assert summary is not None
    for stage in summary.stages:
        for name in stage_figures(stage):
            shown = name.replace("@", ".") if tracker == "mlflow" else name
            assert len(found[f"stages/{stage.name}/{shown}"]) == 1


@pytest.mark.filterwarnings("default")
def test_wandb_leaves_one_offline_run(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="pip install 'fedsafe[wandb]'")
    for _ in range(2):
        _export(finished, "wandb", tmp_path)
    (found,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert found.stat().st_size > 1000


def test_settings_have_no_value_of_a_secret(finished: Path) -> None:
    values = Store(finished).experiment.model_dump(mode="json")
    judge = {
        "name": "endpoint",
        "url": "http://localhost/v1",
        "model": "m",
        "api_key": "env:MY_KEY",
    }
    values["evaluation"]["judge"] = {**judge, "api_key": "env:MY_KEY"}
    found = settings_of(validate(values))
    secret = [name for name in found if name.startswith("evaluation.judge") and "api_key" in name]
    assert [found[name] for name in secret] == [MASK]
    assert (found["federation.rounds"], found["adapter.alpha"]) == (2, 8.0)


def test_a_tracker_that_is_not_installed_is_one_sentence(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main(["export", str(finished), "--to", "wandb"]) == 1
    assert capsys.readouterr().err == (
        "error: Weights & Biases needs the package wandb, which is not installed or does not work "
        "here. Install it with: pip install 'fedsafe[wandb]'.\n"
    )
