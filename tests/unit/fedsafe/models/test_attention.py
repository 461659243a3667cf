"""The attention kernel: flash where it is installed and runs, and a sentence where it cannot."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, GPT2Config

from fedsafe.errors import MissingDependencyError, ModelError
from fedsafe.experiment.schema import Adapter, Model
from fedsafe.models.attention import FLASH, Ground, attention_of, survey
from fedsafe.models.base import load

AMPERE = Ground(device="cuda", half=True, capability=(8, 0))
ABSENT = "the package flash-attn, 2.3.3 or newer, is not installed"


def test_flash_attention_is_taken_where_it_runs() -> None:
    assert attention_of("auto", AMPERE) == FLASH


@pytest.mark.parametrize(
    "ground",
    [
        replace(AMPERE, device="cpu", capability=None),
        replace(AMPERE, half=False),
        replace(AMPERE, capability=(7, 5)),
        replace(AMPERE, head=512),
        replace(AMPERE, model_has_flash=False),
        replace(AMPERE, package=ABSENT),
    ],
)
def test_sdpa_is_taken_where_flash_attention_does_not_run(ground: Ground) -> None:
    assert attention_of("auto", ground) == "sdpa"


def test_eager_is_taken_last() -> None:
    assert attention_of("auto", replace(AMPERE, package=ABSENT, model_has_sdpa=False)) == "eager"


@pytest.mark.parametrize("wanted", ["eager", "sdpa", FLASH])
def test_what_is_asked_for_is_taken(wanted: str) -> None:
    assert attention_of(wanted, AMPERE) == wanted


@pytest.mark.parametrize(
    ("ground", "sentence"),
    [
        (replace(AMPERE, device="cpu"), "needs CUDA, and the model goes to cpu. Use auto"),
        (replace(AMPERE, half=False), "half precision, and model.dtype is float32"),
        (replace(AMPERE, capability=(7, 5)), "capability 8.0, and this one has 7.5"),
        (replace(AMPERE, head=512), "heads of at most 256, and this model's are 512 wide"),
        (replace(AMPERE, model="Tiny", model_has_flash=False), "Tiny does not have it"),
    ],
)
def test_flash_attention_that_cannot_run_is_a_sentence(ground: Ground, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        attention_of(FLASH, ground)


def test_flash_attention_that_is_not_installed_is_a_sentence() -> None:
    with pytest.raises(
        MissingDependencyError, match=r"flash-attn, .* is not installed. Install it"
    ):
        attention_of(FLASH, replace(AMPERE, package=ABSENT))


def test_sdpa_that_the_model_lacks_is_a_sentence() -> None:
    with pytest.raises(ModelError, match="sdpa, which Tiny does not have"):
        attention_of("sdpa", replace(AMPERE, model="Tiny", model_has_sdpa=False))


def test_a_model_is_looked_at(llama: Path) -> None:
    found = survey(AutoConfig.from_pretrained(llama), torch.device("cpu"), torch.bfloat16)
    assert found == Ground(
        device="cpu", half=True, model="LlamaForCausalLM", head=8, package=found.package
    )


def test_heads_are_measured_where_the_configuration_does_not_name_them() -> None:
    config = GPT2Config(n_embd=96, n_head=4)
    assert survey(config, torch.device("cpu"), torch.float32).head == 24


@pytest.mark.parametrize(("wanted", "got"), [("auto", "sdpa"), ("eager", "eager")])
def test_model_is_loaded_with_it(wanted: str, got: str, llama: Path) -> None:
    spec = Model.model_validate({"path": str(llama), "device": "cpu", "attention": wanted})
    config = load(spec, Adapter(rank=2)).model.config
    assert config._attn_implementation == got
