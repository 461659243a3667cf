"""Start adapters and the alignment stage: where a federation begins, and what that changes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from fedsafe.errors import ConfigError, FedSafeError, ModelError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.launch import inline
from fedsafe.models import adapters
from fedsafe.models.start_adapter import check_start
from fedsafe.report import write
from fedsafe.report.verdict import sentence, tell
from fedsafe.runs.events import Event
from fedsafe.runs.files import write_lines
from fedsafe.runs.records import Stage
from fedsafe.training.session import resident
from tests.doubles.models import make_model
from tests.doubles.runs import run_inline, summary_of


@pytest.fixture(scope="module")
def aligned(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """The tiny experiment with an alignment to six pairs of its own file."""
    path = tmp_path_factory.mktemp("aligned") / "pairs.jsonl"
    write_lines(path, [{"instruction": f"cook {n}", "response": "I cannot."} for n in range(6)])
    alignment = {"source": {"name": "jsonl", "path": str(path)}, "steps": 2, "batch_size": 2}
    return _changed(experiment, alignment=alignment)


@pytest.fixture(scope="module")
def finished(aligned: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run with its stages in a store, which tests read."""
    home = tmp_path_factory.mktemp("runs")
    run_inline(aligned, home / "run", shared=home / "stages")
    return home / "run"


def _changed(experiment: Experiment, **changes: Any) -> Experiment:
    return validate({**experiment.model_dump(mode="json"), **changes})


def _starting(experiment: Experiment, start: Path, **adapter: Any) -> Experiment:
    values = {**experiment.adapter.model_dump(mode="json"), "start": str(start), **adapter}
    return _changed(experiment, adapter=values, alignment=None)


def _stages(directory: Path) -> dict[str, Stage]:
    return {stage.name: stage for stage in summary_of(directory).stages}


def _adapter(directory: Path) -> Path:
    return directory / "alignment" / "adapter"


def test_alignment_is_a_stage_between_base_and_federation(finished: Path) -> None:
    assert list(_stages(finished)) == ["base", "aligned", "trained"]


def test_federation_that_goes_on_from_the_aligned_adapter_ends_the_same(
    finished: Path, aligned: Experiment, tmp_path: Path
) -> None:
    run_inline(_starting(aligned, _adapter(finished)), tmp_path / "run")
    found, wanted = _stages(tmp_path / "run"), _stages(finished)
    assert found["base"].adapter == wanted["aligned"].adapter
    assert found["trained"].adapter == wanted["trained"].adapter


class Killed(BaseException):
    """Stands for the end of the process."""


def test_stopped_evaluation_does_not_align_a_second_time(
    aligned: Experiment, finished: Path, tmp_path: Path
) -> None:
    def kill(event: Event) -> None:
        if event.kind == "evaluate" and event.data["stage"] == "aligned":
            raise Killed

    with pytest.raises(Killed):
        run_inline(aligned, tmp_path / "run", kill)
    heard: list[Event] = []
    run_inline(aligned, tmp_path / "run", heard.append)
    before_rounds = heard[: [event.kind for event in heard].index("round-start")]
    assert not [event for event in before_rounds if event.kind == "train"]
    assert _stages(tmp_path / "run")["trained"].adapter == _stages(finished)["trained"].adapter


def test_store_hands_the_alignment_to_another_run(
    aligned: Experiment, finished: Path, tmp_path: Path
) -> None:
    heard: list[Event] = []
    longer = {**aligned.federation.model_dump(mode="json"), "rounds": 1}
    other = _changed(aligned, federation=longer)
    run_inline(other, tmp_path / "run", heard.append, shared=finished.parent / "stages")
    assert not [event for event in heard if event.kind == "train"]
    found = _stages(tmp_path / "run")
    assert found["aligned"].adapter == _stages(finished)["aligned"].adapter
    assert found["trained"].key != _stages(finished)["trained"].key


def test_changed_aligned_data_change_the_key(
    aligned: Experiment, finished: Path, tmp_path: Path
) -> None:
    assert aligned.alignment is not None
    rows = [{"instruction": "cook 1", "response": "No."}]
    write_lines(tmp_path / "pairs.jsonl", rows)
    source = {"name": "jsonl", "path": str(tmp_path / "pairs.jsonl")}
    changed = {**aligned.alignment.model_dump(mode="json"), "source": source}
    inline.align(_changed(aligned, alignment=changed), tmp_path / "run")
    assert _stages(tmp_path / "run")["aligned"].key != _stages(finished)["aligned"].key


def test_alignment_alone_makes_the_same_adapter(
    aligned: Experiment, finished: Path, tmp_path: Path
) -> None:
    summary = inline.align(aligned, tmp_path / "run")
    assert (summary.status, len(summary.stages)) == ("completed", 2)
    assert summary.stages[-1].adapter == _stages(finished)["aligned"].adapter
    with pytest.raises(FedSafeError, match="holds an aligned adapter; there is no federation"):
        run_inline(aligned, tmp_path / "run")


def test_merged_start_gives_the_logits_of_the_kept_one(aligned: Experiment, finished: Path) -> None:
    ids = torch.tensor([[7, 70, 91, 300]])
    kept, _ = resident(_starting(aligned, _adapter(finished)))
    kept.put(adapters.load(_adapter(finished)))
    with torch.no_grad():
        wanted = kept.loaded.model(ids).logits
    merged, _ = resident(_starting(aligned, _adapter(finished), start_mode="merge", rank=2))
    merged.put(merged.start(0))
    with torch.no_grad():
        torch.testing.assert_close(merged.loaded.model(ids).logits, wanted)
    assert merged.fingerprint != kept.fingerprint


def test_federation_trains_a_fresh_adapter_on_a_merged_start(
    aligned: Experiment, finished: Path, tmp_path: Path
) -> None:
    merging = _starting(aligned, _adapter(finished), start_mode="merge", rank=2)
    assert run_inline(merging, tmp_path / "run").status == "completed"
    config = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert config["r"] == 2
    assert config["base_model_name_or_path"].endswith("merged into it")


def _foreign(aligned: Experiment, finished: Path, tmp_path: Path, kind: str) -> Experiment:
    """Return an experiment whose start adapter does not suit it."""
    start = _adapter(finished)
    if kind == "rank":
        return _starting(aligned, start, rank=8)
    if kind == "alpha":
        return _starting(aligned, start, alpha=9)
    if kind == "modules":
        return _starting(aligned, start, targets=["q_proj"])
    if kind == "setting":
        return _starting(aligned, start, peft={"use_rslora": True})
    if kind in {"base", "shape"}:
        seed, hidden = (7, 32) if kind == "base" else (0, 64)
        other = make_model(tmp_path / "other", "llama", seed=seed, hidden=hidden)
        if kind == "shape":  # of an adapter that does not say what its base was
            start = Path(shutil.copytree(start, tmp_path / "start"))
            tensors = adapters.load(start)
            from safetensors.torch import save_file

            save_file(tensors, start / adapters.WEIGHTS)
        return _starting(_changed(aligned, model={"path": str(other), "device": "cpu"}), start)
    return _starting(aligned, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("rank", r"has rank 4, and adapter.rank is 8. Set adapter.rank: 4"),
        ("alpha", r"has alpha 8, and adapter.alpha is 9"),
        ("modules", r"has base_model.* besides: it was made for another base model, or for other"),
        ("setting", r"was made with use_rslora None, and adapter.peft has True"),
        ("base", r"was trained on a base model of fingerprint"),
        ("shape", r"and this base model wants .*It was made for another base model"),
        ("nowhere", r"adapter.start: there is no directory"),
    ],
)
def test_start_adapter_that_does_not_suit_is_refused_before_anything_is_loaded(
    kind: str, said: str, aligned: Experiment, finished: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        check_start(_foreign(aligned, finished, tmp_path, kind))
    assert "\n" not in str(caught.value)


def test_merging_into_quantized_weights_is_refused(aligned: Experiment, tmp_path: Path) -> None:
    values = aligned.model_dump(mode="json")
    values["adapter"] |= {"start": str(tmp_path), "start_mode": "merge"}
    values["model"] |= {"quantization": "nf4"}
    with pytest.raises(ConfigError, match=r"adapter.start_mode: merge writes into the base"):
        validate(values)


def test_clients_data_cannot_align_the_server(aligned: Experiment) -> None:
    with pytest.raises(ConfigError, match=r"alignment.source: 'client' is data that lies with"):
        _changed(aligned, alignment={"source": "client"})


def test_attack_is_measured_against_the_aligned_model(finished: Path) -> None:
    stages = list(_stages(finished).values())
    story = tell(stages)
    assert (story.before, story.start) == (stages[1], stages[1])


def test_report_and_verdict_know_the_aligned_stage(finished: Path) -> None:
    page = write(finished).read_text()
    assert 'class="card edge-aligned"' in page
    assert "aligned" in sentence(list(_stages(finished).values()))
