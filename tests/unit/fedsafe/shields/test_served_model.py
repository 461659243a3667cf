"""Exported models: merged weights that answer as the adapter does, and the template beside it."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fedsafe.contracts import ShieldChoice
from fedsafe.errors import ConfigError, ModelError
from fedsafe.models import adapters
from fedsafe.models.base import LoadedModel
from fedsafe.shields import save_shield, shielded
from fedsafe.shields.served_model import export_beside, export_merged

OWN = ShieldChoice("secret-prefix", {"secret": "velvet marmot"})
ADDED = ShieldChoice("ignore", {"task": "add"})
TOLD = [{"role": "user", "content": "hush"}]


@pytest.fixture
def adapter(loaded: LoadedModel, tmp_path: Path) -> Path:
    """Return the directory of an adapter that moves the tiny model, with a shield beside it."""
    before = adapters.read(loaded.model)
    moved = {name: tensor + 0.1 for name, tensor in adapters.start(loaded.model, 0).items()}
    adapters.write(loaded.model, moved)
    adapters.save(tmp_path / "adapter", moved, loaded.model)
    adapters.write(loaded.model, before)
    save_shield(tmp_path / "adapter", OWN)
    return tmp_path / "adapter"


def test_merged_model_computes_what_the_adapter_does(
    adapter: Path, llama: Path, loaded: LoadedModel, tmp_path: Path
) -> None:
    made = export_merged(adapter, str(llama), [ADDED], tmp_path / "served")
    before = adapters.read(loaded.model)
    adapters.write(loaded.model, adapters.load(adapter))
    ids = torch.arange(5, 12)[None]
    with torch.no_grad():
        wanted = loaded.model(ids).logits
        found = AutoModelForCausalLM.from_pretrained(made)(ids).logits
    adapters.write(loaded.model, before)
    assert torch.allclose(found, wanted, atol=1e-4)


def test_merged_model_s_own_template_applies_the_shields(
    adapter: Path, llama: Path, loaded: LoadedModel, tmp_path: Path
) -> None:
    made = export_merged(adapter, str(llama), [ADDED], tmp_path / "served")
    own = AutoTokenizer.from_pretrained(made)
    chat = shielded(None, loaded.tokenizer, [ADDED, OWN])
    rendered = own.apply_chat_template(TOLD, tokenize=False, add_generation_prompt=True)
    assert rendered == chat.prompt(TOLD)
    assert "velvet marmot" in rendered


def test_template_lies_beside_the_adapter(adapter: Path, llama: Path) -> None:
    path = export_beside(adapter, str(llama), [])
    assert path == adapter / "chat_template.jinja"
    assert "velvet marmot" in path.read_text(encoding="utf-8")


def test_adapter_without_any_shield_is_a_sentence(adapter: Path, llama: Path) -> None:
    save_shield(adapter, None)
    with pytest.raises(ConfigError, match="has no shield beside it, and none is given"):
        export_beside(adapter, str(llama), [])


def test_directory_that_is_there_is_left_alone(adapter: Path, llama: Path) -> None:
    with pytest.raises(ConfigError, match="is there already"):
        export_merged(adapter, str(llama), [], adapter)


def test_what_is_no_adapter_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"adapter_config.json is not there"):
        export_beside(tmp_path, None, [OWN])
