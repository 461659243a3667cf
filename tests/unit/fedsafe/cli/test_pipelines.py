"""``--with A+B`` and ``--set A.k=v``."""

from typing import Any

import pytest

from fedsafe.cli.pipelines import pipelines_of
from fedsafe.errors import ConfigError


def _plain(options: list[str], **chosen: Any) -> list[list[dict[str, Any]]]:
    found = pipelines_of(options, {key.replace("__", "."): v for key, v in chosen.items()})
    return [[choice.model_dump() for choice in steps] for steps in found]


def test_plus_joins_the_steps_of_one_pipeline() -> None:
    assert _plain(["one-shot+fine-tune", "antidote"]) == [
        [{"name": "one-shot"}, {"name": "fine-tune"}],
        [{"name": "antidote"}],
    ]


def test_setting_goes_to_the_defense_that_has_it() -> None:
    assert _plain(["antidote+fine-tune"], share=0.1, pairs=4) == [
        [{"name": "antidote", "share": 0.1}, {"name": "fine-tune", "pairs": 4}]
    ]


def test_setting_of_several_wants_a_name() -> None:
    with pytest.raises(ConfigError, match=r"2 defenses have it. Write one-shot.steps or fine-tun"):
        _plain(["one-shot+fine-tune"], steps=2)


def test_setting_with_a_name_goes_to_that_defense() -> None:
    found = pipelines_of(["one-shot+fine-tune"], {"fine-tune.steps": 2})
    assert [choice.settings for choice in found[0]] == [{}, {"steps": 2}]


def test_setting_of_none_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"--set stepz: none of one-shot, fine-tune has it"):
        _plain(["one-shot+fine-tune"], stepz=2)
