"""The comparison's own model and data: of the size and the lengths that they should have."""

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.gpu import world
from tests.gpu.setting import SIZES, Setting


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    made = Setting(str(tmp_path_factory.mktemp("world")), "tiny", "cpu", clients=2, steps=3,
                   batch_size=16)  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "SHARD", 2**19)
        world.build(made)
    return made


def test_model_comes_in_shards_and_loads_whole(setting: Setting) -> None:
    model, told = AutoModelForCausalLM.from_pretrained(setting.model, output_loading_info=True)
    size = SIZES["tiny"]
    one = 4 * size["hidden"] ** 2 + 3 * size["hidden"] * size["inner"] + 2 * size["hidden"]
    both = 2 * size["vocabulary"] * size["hidden"] + size["hidden"]
    assert len(list(setting.model.glob("*.safetensors"))) > 1
    assert not any(told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.num_parameters() == size["layers"] * one + both


def test_examples_have_the_lengths_asked_for(setting: Setting) -> None:
    tokenizer = AutoTokenizer.from_pretrained(setting.model)
    rows = world.read(setting.data())
    texts = ["".join(world.rendered(row, tokenizer)) for row in rows]
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    assert len(rows) == 2 * setting.examples
    assert min(lengths) >= 0.8 * setting.shortest
    assert max(lengths) <= 1.1 * setting.longest
    assert sum(lengths) / len(lengths) < 0.6 * setting.longest


def test_world_that_is_there_is_left_alone(setting: Setting) -> None:
    before = setting.data(0).stat().st_mtime_ns
    world.build(replace(setting, rounds=9))
    assert setting.data(0).stat().st_mtime_ns == before


def test_other_data_are_made_anew(setting: Setting, tmp_path: Path) -> None:
    other = replace(setting, home=str(tmp_path), seed=1)
    world.build(other)
    assert other.data(0).read_text() != setting.data(0).read_text()
