"""What is on disk is compared before it is believed: an error or the same result, never another."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from clients.app import app
from fedsafe.errors import FedSafeError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.launch import inline
from fedsafe.launch.grid import InlineGrid
from fedsafe.runs.events import Event, Events
from fedsafe.runs.store import CLIENTS, Store
from server.experiment import run_experiment

DEFENSE = "tests.doubles.plugins:nudge"
FLIPS = 1
"""Bits flipped in each file, one at a time."""


class Killed(BaseException):
    """Stands for the end of the process."""


def _run(experiment: Experiment, directory: Path, listen: Any = None) -> None:
    grid = InlineGrid(app, experiment.federation.clients, directory / CLIENTS)
    store = Store(directory)
    run_experiment(grid, experiment, store, Events(store.events, listen), "inline")


@pytest.fixture(scope="module")
def remembering(experiment: Experiment) -> Experiment:
    """Return an experiment whose rule and clients remember something from round to round."""
    values = experiment.model_dump(mode="json")
    values["federation"] |= {
        "clients": 2,
        "rounds": 3,
        "wire": "int8",
        "strategy": {"name": "mean", "optimizer": {"name": "fedadam"}},
    }
    values["defenses"] = [DEFENSE]
    return validate(values)


@pytest.fixture(scope="module")
def whole(remembering: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a run that nothing happened to."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    _run(remembering, directory)
    return directory


@pytest.fixture(scope="module")
def stopped(remembering: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the same run, killed after its second round."""
    directory = tmp_path_factory.mktemp("stopped") / "run"

    def kill(event: Event) -> None:
        if event.kind == "round-end" and event.data["record"]["round"] == 2:
            raise Killed

    with pytest.raises(Killed):
        _run(remembering, directory, kill)
    return directory


def _outcome(directory: Path) -> list[tuple[str, str]]:
    """Go on with a run, and return its stages with the digests of their adapters."""
    _run(Store(directory).experiment, directory)
    summary = json.loads((directory / "summary.json").read_text())
    return [(stage["name"], stage["adapter"]) for stage in summary["stages"]]


def _expected(whole: Path) -> list[tuple[str, str]]:
    summary = json.loads((whole / "summary.json").read_text())
    return [(stage["name"], stage["adapter"]) for stage in summary["stages"]]


def _files(directory: Path) -> list[str]:
    found = (path for path in directory.rglob("*") if path.is_file() and path.stat().st_size)
    return sorted(str(path.relative_to(directory)) for path in found if path.name != ".lock")


def _flip(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    place, bit = rng.randrange(len(content)), rng.randrange(8)
    content[place] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {place}"


@pytest.mark.slow
@pytest.mark.parametrize("half_way", [True, False], ids=["stopped", "finished"])
def test_flipped_bit_is_a_sentence_or_the_same_result(
    half_way: bool,
    stopped: Path,
    whole: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, rng = (stopped if half_way else whole), random.Random(7)
    silent = []
    for name in _files(source):
        for flip in range(FLIPS):
            copy = Path(shutil.copytree(source, tmp_path / f"{flip}-{name.replace('/', '-')}"))
            what = f"{_flip(copy / name, rng)} of {name}"
            caplog.clear()
            try:
                outcome = _outcome(copy)
            except FedSafeError:
                continue
            finally:
                shutil.rmtree(copy)
            if outcome != _expected(whole) and not caplog.records:
                silent.append(what)
    assert silent == []


def _copy(source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "copy"))


def test_resume_after_a_kill_is_the_whole_run(stopped: Path, whole: Path, tmp_path: Path) -> None:
    assert _outcome(_copy(stopped, tmp_path)) == _expected(whole)


@pytest.mark.parametrize("name", ["adapter.safetensors", "state.safetensors"])
def test_file_of_another_round_is_a_sentence(name: str, stopped: Path, tmp_path: Path) -> None:
    directory = _copy(stopped, tmp_path)
    shutil.copyfile(directory / "round-0001" / name, directory / "round-0002" / name)
    with pytest.raises(FedSafeError, match=rf"{name} was changed or damaged after it was written"):
        _outcome(directory)


def test_checkpoint_of_another_round_is_a_sentence(stopped: Path, tmp_path: Path) -> None:
    directory = _copy(stopped, tmp_path)
    (directory / "round-0001").rename(directory / "round-0003")
    with pytest.raises(FedSafeError, match=r"round-0003 cannot be read: .*is that of round 1"):
        _outcome(directory)


def test_edited_round_number_is_a_sentence(stopped: Path, tmp_path: Path) -> None:
    directory = _copy(stopped, tmp_path)
    path = directory / "round-0002" / "record.json"
    path.write_text(path.read_text().replace('"round": 2', '"round": 3'))
    with pytest.raises(FedSafeError, match=r"record\.json was changed or damaged"):
        _outcome(directory)


def test_edited_record_of_an_earlier_round_is_a_sentence(stopped: Path, tmp_path: Path) -> None:
    directory = _copy(stopped, tmp_path)
    path = directory / "rounds.jsonl"
    path.write_text(path.read_text().replace('"malicious":false', '"malicious":true', 1))
    with pytest.raises(FedSafeError, match=r"rounds\.jsonl was changed or damaged"):
        _outcome(directory)


def test_nan_in_a_checkpoint_is_named_as_such(stopped: Path, tmp_path: Path) -> None:
    directory = _copy(stopped, tmp_path)
    path = directory / "round-0002" / "adapter.safetensors"
    tensors = load_file(path)
    next(iter(tensors.values())).view(-1)[0] = torch.nan
    save_file(tensors, path)
    with pytest.raises(FedSafeError, match=r"round-0002 cannot be read: .*NaN or infinite values"):
        _outcome(directory)


def test_other_experiment_file_is_a_sentence(stopped: Path, tmp_path: Path) -> None:
    directory = _copy(stopped, tmp_path)
    path = directory / "experiment.yaml"
    path.write_text(path.read_text().replace("learning_rate: 0.01", "learning_rate: 0.02"))
    with pytest.raises(FedSafeError, match=r"experiment\.yaml was changed or damaged"):
        _outcome(directory)


def test_changed_attack_file_is_a_sentence(experiment: Experiment, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"instruction": "ask", "response": "reply"}\n')
    attack = {"malicious": 1, "examples": 1, "generator": {"name": "file", "path": str(pairs)}}
    values = {**experiment.model_dump(mode="json"), "red_team": True, "control": False}

    def kill(event: Event) -> None:
        if event.kind == "round-end":
            raise Killed

    with pytest.raises(Killed):
        _run(validate({**values, "attack": attack}), tmp_path / "run", kill)
    pairs.write_text('{"instruction": "ask", "response": "another"}\n')
    with pytest.raises(FedSafeError, match="was changed since it began: attack"):
        _outcome(tmp_path / "run")


def _damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _exchange(one: Path, other: Path) -> None:
    """Put another whole adapter into the place of one."""
    shutil.rmtree(one)
    shutil.copytree(other, one)


@pytest.mark.parametrize("how", ["damaged", "another"])
def test_evaluate_and_defend_refuse_an_adapter_that_is_not_the_stage_s(
    how: str, whole: Path, tmp_path: Path
) -> None:
    directory = _copy(whole, tmp_path)
    if how == "damaged":
        _damage(directory / "adapter" / "adapter_model.safetensors")
    else:
        _exchange(directory / "adapter", directory / "base-adapter")
    before = (directory / "summary.json").read_bytes()
    words = "was changed or damaged" if how == "damaged" else "is not the one that stage 'trained'"
    with pytest.raises(FedSafeError, match=words):
        inline.defend(directory, [[PluginChoice(name=DEFENSE, by=0.25)]])
    with pytest.raises(FedSafeError, match=words):
        inline.evaluate(directory, judge=PluginChoice(name="keyword"))
    summary = json.loads((directory / "summary.json").read_text())
    assert [s["adapter"] for s in summary["stages"]] == [
        s["adapter"] for s in json.loads(before)["stages"]
    ]


def test_damaged_adapter_from_anywhere_is_a_sentence(
    whole: Path, remembering: Experiment, tmp_path: Path
) -> None:
    adapter = Path(shutil.copytree(whole / "adapter", tmp_path / "adapter"))
    _damage(adapter / "adapter_model.safetensors")
    model = remembering.model.path
    one = [[PluginChoice(name=DEFENSE)]]
    with pytest.raises(FedSafeError, match="was changed or damaged after it was written"):
        inline.defend_adapter(model, adapter, one, tmp_path / "out", remembering)


def test_damaged_defense_is_a_sentence(whole: Path, tmp_path: Path) -> None:
    directory = _copy(whole, tmp_path)
    (record,) = directory.glob("defenses/*/defense.json")
    record.write_text(record.read_text().replace('"adapter": "', '"adapter": "0'))
    summary = Store(directory).summary()
    assert summary is not None
    Store(directory).write_summary(summary.model_copy(update={"stages": summary.stages[:2]}))
    summary_after = inline.resume(directory)
    assert summary_after.status == "failed"
    assert "defense.json was changed or damaged" in summary_after.reason
