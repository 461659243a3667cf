"""Model, tokenizer, adapter and settings, checked against each other at load."""

import shutil
from pathlib import Path

import pytest
import torch

from fedsafe.data.batches import pad_id
from fedsafe.errors import ModelError
from fedsafe.experiment.schema import Adapter, Model
from fedsafe.models import adapters
from fedsafe.models.base import LoadedModel, load
from fedsafe.models.files import locate, name_of
from fedsafe.models.generation import Decoding, generate
from tests.doubles.models import make_model

POSITIONS = 256


def _load(path: Path) -> LoadedModel:
    return load(Model(path=str(path), device="cpu"), Adapter(rank=2))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A model with a table of positions."""
    return _load(make_model(tmp_path_factory.mktemp("gpt2") / "gpt2", "gpt2"))


def _shrunk(llama: Path, home: Path, rows: int) -> Path:
    """Return a copy of the model with fewer rows in its embedding."""
    from transformers import AutoModelForCausalLM

    shutil.copytree(llama, home)
    model = AutoModelForCausalLM.from_pretrained(home)
    model.resize_token_embeddings(rows)
    model.save_pretrained(home)
    return home


def _with_pad(llama: Path, home: Path) -> Path:
    """Return a copy whose tokenizer pads with a token that the model was not resized for."""
    from transformers import AutoTokenizer

    shutil.copytree(llama, home)
    tokenizer = AutoTokenizer.from_pretrained(home)
    tokenizer.add_special_tokens({"pad_token": "[MORE]"})
    tokenizer.save_pretrained(home)
    return home


def test_pad_token_without_an_embedding_is_put_aside(llama: Path, tmp_path: Path) -> None:
    loaded = _load(_with_pad(llama, tmp_path / "copy"))
    assert pad_id(loaded.tokenizer) < (loaded.rows or 0)


def test_tokenizer_of_another_model_is_refused(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer in .* has \d+ ids, the model's embedding 300"):
        _load(_shrunk(llama, tmp_path / "copy", 300))


def test_table_of_positions_is_found(gpt2: LoadedModel, loaded: LoadedModel) -> None:
    assert (gpt2.positions, loaded.positions) == ((POSITIONS, "n_positions"), None)


def test_length_is_bounded_by_the_positions(gpt2: LoadedModel, loaded: LoadedModel) -> None:
    assert (gpt2.fitting(512), gpt2.fitting(8), loaded.fitting(512)) == (POSITIONS, 8, 512)


def test_reply_is_cut_at_the_last_position(gpt2: LoadedModel) -> None:
    prompts = [[20] * (POSITIONS - 3), [21] * 5, [22] * (POSITIONS - 1)]
    found = generate(gpt2, prompts, Decoding(max_new_tokens=6))
    assert [len(reply) for reply in found] == [3, 6, 1]


def test_reply_does_not_depend_on_longer_prompts_beside_it(gpt2: LoadedModel) -> None:
    prompts = [[20] * (POSITIONS - 3), [21] * 5]
    alone = [generate(gpt2, [prompt], Decoding(max_new_tokens=6))[0] for prompt in prompts]
    assert generate(gpt2, prompts, Decoding(max_new_tokens=6)) == alone


def test_prompt_that_fills_the_positions_is_a_sentence(gpt2: LoadedModel) -> None:
    with pytest.raises(ModelError, match=r"no room .* 256 positions \(n_positions\).*max_new_tok"):
        generate(gpt2, [[20] * POSITIONS], Decoding(max_new_tokens=6))


def test_adapter_beside_the_base_is_refused(
    loaded: LoadedModel, llama: Path, tmp_path: Path
) -> None:
    home = shutil.copytree(llama, tmp_path / "copy")
    adapters.save(tmp_path / "a", adapters.read(loaded.model), loaded.model)
    shutil.copy(tmp_path / "a" / "adapter_config.json", home)
    with pytest.raises(ModelError, match=r"holds an adapter .* beside the base model"):
        locate(Model(path=str(home)))


def test_adapter_given_as_a_model_is_named(loaded: LoadedModel, tmp_path: Path) -> None:
    adapters.save(tmp_path / "a", adapters.read(loaded.model), loaded.model)
    with pytest.raises(ModelError, match="holds an adapter and no base model"):
        locate(Model(path=str(tmp_path / "a")))


@pytest.mark.parametrize("path", ["micro", "owner/name"])
def test_saved_adapters_name_models_as_the_experiment_does(path: str) -> None:
    assert name_of(Model(path=path)) == (path, None)


def test_embedding_alone_is_trained(llama: Path) -> None:
    loaded = load(Model(path=str(llama), device="cpu"), Adapter(rank=4, targets=("embed_tokens",)))
    adapters.write(loaded.model, adapters.start(loaded.model, 0))
    loss = loaded.model(input_ids=torch.arange(10, 20)[None]).logits.logsumexp(-1).sum()
    loss.backward()
    grads = [float(p.grad.abs().sum()) for p in adapters.parameters(loaded.model).values()]
    assert max(grads) > 0
