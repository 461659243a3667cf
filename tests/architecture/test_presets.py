"""Every preset loads, and opens with what it is, its command and its cost."""

import pytest

from fedsafe.experiment import load, presets, read_preset


def _header(name: str) -> list[str]:
    lines = read_preset(name).splitlines()
    end = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    return [line.removeprefix("#").strip() for line in lines[:end]]


def test_the_four_presets_are_there() -> None:
    assert set(presets()) >= {"micro", "micro-quick", "paper", "qlora-7b"}


@pytest.mark.parametrize("name", presets())
def test_preset_loads(name: str) -> None:
    assert load(name).name == name


@pytest.mark.parametrize("name", presets())
def test_preset_opens_with_a_sentence(name: str) -> None:
    assert _header(name)[0].endswith(".")


@pytest.mark.parametrize("name", presets())
def test_preset_names_its_command(name: str) -> None:
    assert any(line.startswith("fedsafe run ") for line in _header(name))


@pytest.mark.parametrize("name", presets())
def test_preset_names_its_cost(name: str) -> None:
    assert any(line.startswith("Cost: ") for line in _header(name))


@pytest.mark.parametrize("name", presets())
def test_preset_with_an_attack_declares_its_red_team(name: str) -> None:
    experiment = load(name)
    assert experiment.red_team or experiment.attack is None
