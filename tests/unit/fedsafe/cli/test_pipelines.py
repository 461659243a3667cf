"""``--with A+B``, ``--set A.k=v`` and ``--sweep k=v,w``."""

from typing import Any

import pytest

from fedsafe.cli.pipelines import pipelines_of, sweeps_of, swept
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


def test_sweep_is_every_combination() -> None:
    values = sweeps_of(["steps=1,2", "choose=random,category"])
    found = swept(["backdoor-enhanced-alignment"], {"examples": 3}, values)
    assert [one[0].settings for one in found] == [
        {"examples": 3, "steps": steps, "choose": choose}
        for steps in (1, 2)
        for choose in ("random", "category")
    ]


def test_sweep_of_lists_is_read_as_yaml() -> None:
    assert sweeps_of(["betas=[8], []"]) == {"betas": [[8], []]}


@pytest.mark.parametrize("option", ["steps=1", "steps", "=1,2", "steps=[1,2"])
def test_sweep_of_less_than_two_values_is_a_sentence(option: str) -> None:
    with pytest.raises(ConfigError, match="expected a setting and two values"):
        sweeps_of([option])


def test_setting_is_not_swept_and_set() -> None:
    with pytest.raises(ConfigError, match="--sweep steps: it is given with --set as well"):
        swept(["fine-tune"], {"steps": 3}, {"steps": [1, 2]})
