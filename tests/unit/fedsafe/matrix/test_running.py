"""A matrix runs: shared stages once, failures recorded, gone on with to the same bytes."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fedsafe.errors import RunError
from fedsafe.experiment import Experiment
from fedsafe.library import read_run
from fedsafe.library import run as run_alone
from fedsafe.matrix.library import read_matrix, run_matrix
from fedsafe.matrix.results import MatrixFrames
from fedsafe.models import adapters
from fedsafe.runs.files import read_lines
from fedsafe.runs.matrix_records import LEDGER
from fedsafe.runs.store import Store


def done(home: Path) -> Counter[str]:
    return Counter(row["stage"] for row in read_lines(home / LEDGER) if row["status"] == "done")


def cell(found: MatrixFrames, **labels: str) -> Any:
    rows = found.cells
    for axis, label in labels.items():
        rows = rows[rows[axis] == label]
    return rows.iloc[0]


def test_shared_stages_are_made_once(found: MatrixFrames, home: Path) -> None:
    assert (found.record.stages_planned, found.record.stages_total) == (5, 13)
    assert set(done(home).values()) == {1}


def test_cell_is_the_run_of_its_experiment(found: MatrixFrames, home: Path, tmp_path: Path) -> None:
    place = home / "cells" / cell(found, attack="flip", defenses="nudge")["cell"]
    alone = run_alone(place, tmp_path / "alone").summary
    together = Store(place).summary()
    assert alone is not None
    assert together is not None
    assert together.status == "completed"
    assert [(s.name, s.key, s.adapter, s.scores) for s in together.stages] == [
        (s.name, s.key, s.adapter, s.scores) for s in alone.stages
    ]


def test_cell_can_be_read_as_a_run(found: MatrixFrames, home: Path) -> None:
    place = home / "cells" / cell(found, attack="flip", defenses="nudge")["cell"]
    run = read_run(place)
    assert list(run.stages["name"])[:3] == ["base", "clean", "attacked"]
    assert (place / "report.html").is_file()
    assert len(run.rounds) == 4


def test_failed_cell_is_recorded_with_its_sentence(found: MatrixFrames) -> None:
    lost = cell(found, defenses="fail")
    assert (lost["status"], "It was hopeless." in lost["reason"]) == ("failed", True)
    assert found.record.status == "failed"
    assert Counter(found.cells["status"]) == {"done": 3, "failed": 1}


def test_bytes_of_shared_stages_are_on_the_disk_once(found: MatrixFrames, home: Path) -> None:
    cells = [cell(found, attack="flip", defenses=name)["cell"] for name in ("none", "nudge")]
    files = [home / "cells" / name / "adapter" / adapters.WEIGHTS for name in cells]
    assert files[0].samefile(files[1])


def test_nothing_is_done_again(written: dict[str, Any], home: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(home, tmp_path / "copied"))
    begun: list[str] = []
    values = {**written, "exclude": [{"defenses": "fail"}, {"attack": "none", "defenses": "nudge"}]}
    again = run_matrix(values, copied, tell=lambda kind, facts: begun.append(facts["name"]))
    assert (begun, again.record.status) == ([], "completed")


def test_failed_cell_is_tried_again(written: dict[str, Any], home: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(home, tmp_path / "copied"))
    begun: list[str] = []
    run_matrix(written, copied, tell=lambda kind, facts: begun.append(f"{kind} {facts['kind']}"))
    assert begun == ["begin defense", "end defense", "begin cell", "end cell"]


def test_stopped_matrix_goes_on_to_the_same_bytes(
    written: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    def stop(kind: str, facts: dict[str, Any]) -> None:
        if kind == "begin" and facts["name"] == "attacked":
            raise KeyboardInterrupt

    place = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        run_matrix(written, place, tell=stop)
    assert read_matrix(place).record.status == "interrupted"
    run_matrix(written, place)
    assert set(done(place).values()) == {1}
    weights = sorted(path.relative_to(home) for path in home.glob("cells/**/*.safetensors"))
    assert [(place / path).read_bytes() for path in weights] == [
        (home / path).read_bytes() for path in weights
    ]


def test_other_axes_add_cells_to_a_matrix(
    written: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(home, tmp_path / "copied"))
    axes = {**written["axes"], "evaluation.max_new_tokens": [4, 5]}
    begun: list[str] = []
    kept = {**written, "axes": axes, "exclude": [{"attack": "flip"}, {"defenses": "fail"}]}
    run_matrix(kept, copied, tell=lambda kind, facts: begun.append(f"{kind} {facts['name']}"))
    assert "begin attacked" not in begun


@pytest.mark.parametrize("what", ["other name", "file", "full"])
def test_directory_of_something_else_is_left_alone(
    what: str, written: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    values = {**written, "name": "another"} if what == "other name" else written
    if what == "other name":
        place = home
    elif what == "file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="another directory with -o"):
        run_matrix(values, place)


def test_missing_model_fails_every_cell_with_a_sentence(
    experiment: Experiment, tmp_path: Path
) -> None:
    values = json.loads(experiment.as_json())
    values["model"]["path"] = str(tmp_path / "nowhere")
    with pytest.raises(Exception, match="nowhere"):
        run_matrix({"experiment": values, "axes": {"seed": [0]}}, tmp_path / "place")
