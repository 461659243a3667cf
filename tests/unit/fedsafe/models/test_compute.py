"""The dtype is one that the processor computes in, and threads follow the model's size."""

from pathlib import Path

import pytest
import torch

from fedsafe.experiment.schema import Model
from fedsafe.models import compute
from fedsafe.models.compute import compute_of, rough_parameters, units

CPU = torch.device("cpu")
LARGE = 135_000_000


@pytest.fixture(params=["none", "amx_bf16"])
def flag(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A processor without, and one with a unit for bfloat16."""
    found = "" if request.param == "none" else request.param
    monkeypatch.setattr(compute, "units", lambda _dtype: found)
    return found


def test_auto_takes_what_the_processor_has(flag: str) -> None:
    found = compute_of(Model(), CPU, LARGE)
    assert found.dtype is (torch.bfloat16 if flag else torch.float32)
    assert (flag or "would be emulated") in str(found)


def test_small_models_stay_in_float32_on_one_thread(flag: str) -> None:
    found = compute_of(Model(), CPU, 200_000)
    assert (found.dtype, found.threads) == (torch.float32, 1)
    assert str(found) == "Computes in float32 on 1 CPU thread."


def test_emulated_dtype_is_taken_where_asked_for_and_said(flag: str) -> None:
    found = compute_of(Model(dtype="bfloat16"), CPU, LARGE)
    assert found.dtype is torch.bfloat16
    assert ("emulates bfloat16" in str(found)) == (not flag)


def test_threads_of_the_settings_are_kept() -> None:
    assert compute_of(Model(threads=3), CPU, LARGE).threads == 3
    assert compute_of(Model(threads=0), CPU, LARGE).threads == 0


def test_large_models_take_the_cores_that_the_container_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(100, 164)))
    monkeypatch.setattr(compute, "cpu_limit", lambda: None)
    assert compute_of(Model(), CPU, LARGE).threads == 16
    assert compute_of(Model(), CPU, 10**10).threads == 64
    monkeypatch.setattr(compute, "cpu_limit", lambda: 2.5)
    assert compute_of(Model(), CPU, LARGE).threads == 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("model name: x\nflags : fpu avx512f avx512_bf16 amx_bf16\n", "amx_bf16"),
        ("Features : fp asimd bf16\n", "bf16"),
        ("flags : fpu avx512f avx512_vnni\n", ""),
    ],
)
def test_flags_of_the_processor_are_read(text: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert units("bfloat16", path) == found


def test_no_flags_to_be_read_is_no_unit(tmp_path: Path) -> None:
    assert units("bfloat16", tmp_path / "missing") == ""


def test_size_is_counted_from_the_configuration() -> None:
    from transformers import LlamaConfig

    config = LlamaConfig(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=30, vocab_size=49152
    )
    assert 100e6 < rough_parameters(config) < 200e6
