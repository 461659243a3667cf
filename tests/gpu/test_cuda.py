"""What only a GPU can show: skipped without one. The long comparison is `tests.gpu.qlora`."""

import json
import subprocess
import sys
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
import torch

from fedsafe.contracts import Batch
from fedsafe.experiment.schema import Adapter, Model, Training
from fedsafe.models import adapters
from fedsafe.models.base import load
from fedsafe.models.device_memory import free_bytes, one_at_a_time, reserve_memory
from fedsafe.models.memory import estimate, workload
from fedsafe.models.model_size import read_config, shape_of
from fedsafe.training.loop import plan_of, train
from tests.gpu.setting import Setting
from tests.gpu.world import build

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
LENGTH = 512


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 26 million parameters."""
    setting = Setting(str(tmp_path_factory.mktemp("small")), "small", "cuda", 1, 1, 1, 1)
    build(setting)
    return setting.model


@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize("optimizer", ["adamw", "adamw-8bit", "paged-adamw-8bit"])
def test_qlora_learns_within_the_memory_that_was_said(
    optimizer: Any, checkpointing: bool, directory: Path
) -> None:
    spec = Model(path=str(directory), device="cuda", quantization="nf4")
    adapter = Adapter(rank=16, alpha=32, dropout=0.05)
    training = Training(
        steps=8, batch_size=4, learning_rate=1e-3, optimizer=optimizer, checkpointing=checkpointing
    )
    shape = shape_of(read_config(directory), adapter, directory)
    work = workload(spec, adapter, training, LENGTH, torch.device("cuda"), torch.bfloat16)
    loaded = load(spec, adapter, training, max_length=LENGTH, reserve=True)
    adapters.write(loaded.model, adapters.start(loaded.model, 0))
    ids = torch.randint(3, 1000, (4, LENGTH), generator=torch.Generator().manual_seed(0))
    report = train(
        loaded, repeat(Batch(ids, torch.ones_like(ids), ids)), plan_of(training, 1e-3), seed=0
    )
    assert report.losses[-1] < report.losses[0]
    assert report.peak <= estimate(shape, work).total


def test_claimed_memory_is_gone_for_other_processes() -> None:
    device, count = torch.device("cuda"), 2**30
    before, _ = torch.cuda.mem_get_info(device)
    with one_at_a_time(device):
        reserve_memory(count, device)
    after, _ = torch.cuda.mem_get_info(device)
    assert before - after >= count
    assert (free_bytes(device) or 0) >= before - 2**26


def test_comparison_runs(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "tests.gpu.qlora", "--size", "tiny", "--device", "cuda", "--out",
         str(tmp_path), "--coordinates", "100000"],
        check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    found = json.loads((tmp_path / "qlora-tiny-cuda-inline.json").read_text())
    assert all(way["tokens_per_second"] > 0 for way in found["ways"].values())
