"""Stages go from one machine to another through an address, whole or not at all."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedsafe.cli import main
from fedsafe.errors import ConfigError, RunError
from fedsafe.matrix.definition import parse
from fedsafe.matrix.directory import prepare
from fedsafe.matrix.library import read_matrix
from fedsafe.matrix.pools import Here
from fedsafe.matrix.remote_stages import RemoteStages, on_this_machine
from fedsafe.matrix.running import run
from fedsafe.matrix.work import Task
from fedsafe.pipeline.stage_store import MANIFEST

KEY = "k" * 64


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"file://{tmp_path / 'bucket'}"


@pytest.fixture
def made(tmp_path: Path, address: str) -> Path:
    """The files of a stage that one machine finished."""
    home = tmp_path / "made"
    (home / "adapter").mkdir(parents=True)
    (home / "adapter" / "weights").write_bytes(b"1234")
    (home / "rounds.jsonl").write_text("{}\n")
    RemoteStages(address, tmp_path / "one").put(KEY, home, probe="p")
    return home


def _entry(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "bucket").iterdir()
    return found


def _fetched(tmp_path: Path, address: str) -> dict[str, Any] | None:
    return RemoteStages(address, tmp_path / "other").fetch(KEY, tmp_path / "run")


def test_another_machine_gets_the_same_files(made: Path, address: str, tmp_path: Path) -> None:
    assert _fetched(tmp_path, address) == {"probe": "p"}
    files = [path.relative_to(made) for path in made.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert all((tmp_path / "run" / f).read_bytes() == (made / f).read_bytes() for f in files)


def test_stage_that_is_not_there_whole_is_none(made: Path, address: str, tmp_path: Path) -> None:
    (_entry(tmp_path) / MANIFEST).unlink()
    assert _fetched(tmp_path, address) is None


def test_damaged_stage_is_none(made: Path, address: str, tmp_path: Path) -> None:
    (_entry(tmp_path) / "adapter" / "weights").write_bytes(b"4321")
    assert _fetched(tmp_path, address) is None


def test_manifest_names_no_file_outside(made: Path, address: str, tmp_path: Path) -> None:
    manifest = _entry(tmp_path) / MANIFEST
    record = json.loads(manifest.read_text())
    record["files"]["../../stolen"] = "0" * 64
    manifest.write_text(json.dumps(record))
    (tmp_path / "bucket" / "stolen").write_text("x")
    assert _fetched(tmp_path, address) is None
    assert not list(tmp_path.rglob("other/stolen"))
    assert not (tmp_path / "stolen").exists()


def test_unknown_kind_of_address_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--results nope://x cannot be used: Protocol not known"):
        RemoteStages("nope://x", tmp_path)


def test_address_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot be reached: .*See to the address"):
        RemoteStages(f"file://{tmp_path / 'file'}/x", tmp_path).check()


def test_results_without_ray_are_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", "run", "micro-curve", "--results", "s3://b", "-o", "nowhere"]) == 2
    assert "Give it with --ray." in capsys.readouterr().err


class TwoMachines(Here):
    """Stages by turns on two machines that share no directory; cells on a third."""

    def __init__(self, address: str, patch: pytest.MonkeyPatch, home: Path) -> None:
        super().__init__()
        self._address, self._patch, self._home = address, patch, home
        self._turn = 0

    def submit(self, task: Task) -> None:
        task = replace(task, results=self._address)
        if task.stage:
            self._turn += 1
            self._patch.setenv("FEDSAFE_CACHE", str(self._home / f"machine-{self._turn % 2}"))
            task = on_this_machine(task)
        super().submit(task)


def test_machines_without_a_shared_directory_make_the_same_bytes(
    written: dict[str, Any],
    home: Path,
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matrix = prepare(parse(written), tmp_path / "matrix")
    record = run(matrix, TwoMachines(address, monkeypatch, tmp_path), lambda *_: None)
    assert record.stages_done == read_matrix(home).record.stages_done
    files = [path.relative_to(home) for path in sorted(home.glob("cells/**/*.safetensors"))]
    assert files
    assert {f"machine-{n}" for n in (0, 1)} <= {path.name for path in tmp_path.iterdir()}
    assert all((matrix.directory / f).read_bytes() == (home / f).read_bytes() for f in files)
