"""A saved adapter works on another machine: no path in it, its base by name and fingerprint."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from fedsafe.experiment.schema import Adapter, Model
from fedsafe.models import adapters
from fedsafe.models.base import LoadedModel, load
from fedsafe.models.files import IMPORTED, fingerprint, name_of

COMMIT = "12fd25f77366fa6b3b4b768ec3050bf629380bac"


@pytest.fixture(scope="module")
def here(loaded: LoadedModel) -> LoadedModel:
    tensors = {
        name: torch.full_like(tensor, 0.02)
        for name, tensor in adapters.start(loaded.model, 0).items()
    }
    adapters.write(loaded.model, tensors)
    return loaded


@pytest.fixture(scope="module")
def saved(here: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("here") / "adapter"
    adapters.save(home, adapters.read(here.model), here.model)
    return home


@pytest.fixture(scope="module")
def moved(saved: Path, llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Copies of base and adapter in other directories, as on another machine."""
    there = tmp_path_factory.mktemp("there")
    shutil.copytree(llama, there / "models" / "base")
    shutil.copytree(saved, there / "lora")
    return there / "models" / "base", there / "lora"


def test_no_file_of_an_adapter_holds_a_path_of_its_machine(saved: Path, llama: Path) -> None:
    contents = b"".join(file.read_bytes() for file in saved.iterdir())
    for place in (llama.parent, saved.parent):
        assert str(place).encode() not in contents
    config = json.loads((saved / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == llama.name


def test_plain_peft_takes_it_on_a_base_at_another_place(
    here: LoadedModel, moved: tuple[Path, Path]
) -> None:
    base, lora = moved
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    elsewhere = PeftModel.from_pretrained(model, lora).eval()
    ids = torch.arange(10, 22)[None]
    with torch.no_grad():
        assert torch.equal(elsewhere(ids).logits, here.model(ids).logits)


def test_its_weights_name_the_base_by_fingerprint(moved: tuple[Path, Path]) -> None:
    base, lora = moved
    with safe_open(lora / adapters.WEIGHTS, framework="pt") as file:
        assert file.metadata()[adapters.BASE] == fingerprint(base)


def test_a_model_of_the_hub_goes_by_its_name_there(tmp_path: Path) -> None:
    cache = tmp_path / "models--HuggingFaceTB--SmolLM2-135M" / "snapshots" / COMMIT
    cache.mkdir(parents=True)
    assert name_of(Model(path=str(cache))) == ("HuggingFaceTB/SmolLM2-135M", COMMIT)
    assert name_of(Model(path="org/name", revision="v1")) == ("org/name", "v1")


@pytest.mark.parametrize(
    ("kind", "dtype", "named"),
    [
        ("hub", "auto", ("org/name", COMMIT)),
        ("hub", "float32", ("copy", None)),
        ("gguf", "auto", ("copy", None)),
    ],
)
def test_an_import_goes_by_the_hub_name_where_it_is_an_unchanged_copy(
    tmp_path: Path, kind: str, dtype: str, named: tuple[str, str | None]
) -> None:
    (tmp_path / "copy").mkdir()
    record = {"kind": kind, "dtype": dtype, "source": "org/name", "name": COMMIT}
    (tmp_path / "copy" / IMPORTED).write_text(json.dumps(record))
    assert name_of(Model(path=str(tmp_path / "copy"))) == named


def test_revision_of_the_base_is_in_the_settings(llama: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--org--name" / "snapshots" / COMMIT
    shutil.copytree(llama, snapshot)
    found = load(Model(path=str(snapshot), device="cpu"), Adapter(rank=2))
    adapters.save(tmp_path / "lora", adapters.read(found.model), found.model)
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["base_model_name_or_path"], config["revision"]) == ("org/name", COMMIT)
