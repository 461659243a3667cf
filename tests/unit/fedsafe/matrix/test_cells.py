"""From a matrix file to checked experiments."""

from pathlib import Path
from typing import Any

import pytest

from fedsafe.app import activate
from fedsafe.errors import ConfigError
from fedsafe.matrix.cells import Cell, cells_of
from fedsafe.matrix.definition import parse, presets, read
from fedsafe.matrix.searching import planned

AXES: dict[str, Any] = {"federation.strategy": ["mean", "median"], "seed": "0-1"}


@pytest.fixture(autouse=True)
def _active() -> None:
    activate()


def cells(home: Path | None = None, **values: Any) -> list[Cell]:
    return cells_of(parse({"experiment": "micro-quick", "axes": AXES, **values}, home))


def test_every_combination_is_a_cell() -> None:
    assert [tuple(cell.labels.values()) for cell in cells()] == [
        ("mean", "0"), ("mean", "1"), ("median", "0"), ("median", "1"),
    ]  # fmt: skip


def test_cells_have_names_of_their_own() -> None:
    names = [cell.name for cell in cells()]
    assert len(set(names)) == len(names)
    assert all(cell.experiment.name == cell.name for cell in cells())


def test_value_is_laid_over_the_experiment_as_a_file_over_its_preset() -> None:
    (one,) = cells(axes={"attack": [{"malicious": 2}]})
    assert one.experiment.attack is not None
    assert (one.experiment.attack.malicious, one.experiment.attack.examples) == (2, 64)


def test_none_is_no_attack_and_no_defense() -> None:
    (one,) = cells(axes={"attack": ["none"], "defenses": ["none"]})
    assert (one.experiment.attack, one.experiment.defenses) == (None, ())


def test_setting_below_a_section_that_the_cell_leaves_out_is_passed_over() -> None:
    axes = {"attack.malicious": [1, 2], "attack": ["none", {"examples": 8}]}
    attacked = [cell.experiment.attack is not None for cell in cells(axes=axes)]
    assert attacked == [False, True, False, True]


def test_defense_by_name_keeps_the_settings_of_the_experiment() -> None:
    (one,) = cells(axes={"defenses": [{"name": "fine-tune", "steps": 5}]})
    settings = one.experiment.defenses[0].settings  # type: ignore[union-attr]
    assert (settings["steps"], settings["pairs"]) == (5, 32)


@pytest.mark.parametrize(
    "axis",
    [
        {"cost": {"low": {"training.steps": 2, "federation.rounds": 1}}},
        {"cost": [{"name": "low", "set": {"training.steps": 2, "federation.rounds": 1}}]},
        {"training.steps": [{"name": "low", "value": 2, "set": {"federation.rounds": 1}}]},
    ],
)
def test_named_value_changes_several_settings(axis: dict[str, Any]) -> None:
    (one,) = cells(axes=axis)
    assert (one.experiment.training.steps, one.experiment.federation.rounds) == (2, 1)
    assert list(one.labels.values()) == ["low"]


def test_condition_changes_the_cells_that_it_names() -> None:
    when = [{"cells": {"federation.strategy": "median"}, "set": {"training.steps": 9}}]
    steps = {c.labels["federation.strategy"]: c.experiment.training.steps for c in cells(when=when)}
    assert steps == {"mean": 4, "median": 9}


def test_excluded_cells_are_left_out() -> None:
    found = cells(exclude={"federation.strategy": "median", "seed": 1})
    assert [tuple(cell.labels.values()) for cell in found] == [
        ("mean", "0"), ("mean", "1"), ("median", "0"),
    ]  # fmt: skip


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"instruction": "a", "response": "b"}\n')
    generator = {"attack.generator": [{"name": "file", "path": "bad.jsonl"}]}
    (one,) = cells(tmp_path, axes=generator)
    assert one.experiment.attack is not None
    assert one.experiment.attack.generator is not None
    assert one.experiment.attack.generator.settings["path"] == str(tmp_path / "bad.jsonl")


@pytest.mark.parametrize("name", presets())
def test_preset_makes_cells(name: str, tmp_path: Path) -> None:
    written = read(name)
    assert planned(written, tmp_path).plan.cells if written.search else cells_of(written)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"axis": {}}, "axis: unknown key. Did you mean 'axes'?"),
        ({"axes": {}}, "axes: write at least one"),
        ({"axes": {"federation.stratgy": ["mean"]}}, "federation.stratgy"),
        ({"axes": {"stratgy": ["mean"]}}, "Did you mean 'federation.strategy'?"),
        ({"axes": {"federation.strategy": ["meen"]}}, "Did you mean 'mean'?"),
        ({"axes": {"training.steps": [0]}}, "training.steps"),
        ({"axes": {"seed": ["a"]}}, "seed"),
        ({"axes": {"seed": [1, 1]}}, "two values are called '1'"),
        ({"axes": {"seed": []}}, "axes.seed: has no value"),
        ({"exclude": [{"seed": [0, 1]}]}, "it leaves no cell"),
        ({"exclude": [{}]}, "exclude[0]: name values of axes"),
        ({"exclude": [{"sead": 0}]}, "there is no axis 'sead'. Did you mean 'seed'?"),
        ({"exclude": [{"seed": 7}]}, "axis 'seed' has no value '7'"),
        ({"set": ["training.steps"]}, "set: write settings"),
        ({"when": [{"seed": 0}]}, "when[0]: write {cells:"),
        ({"table": {"rows": "sead"}}, "table.rows: there is no axis 'sead'"),
        ({"experiment": "micro-quik"}, "micro-quick"),
        ({"name": "a/b"}, "name: 'a/b' is no name"),
    ],
)
def test_mistake_is_a_sentence_that_names_it(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        cells(**values)
    assert told in str(raised.value)


def test_problem_is_told_once_with_a_cell_that_has_it() -> None:
    with pytest.raises(ConfigError) as raised:
        cells(axes={**AXES, "federation.strategy": ["mean", {"name": "krum", "byzantine": 5}]})
    assert "byzantine" in str(raised.value)
    assert str(raised.value).count("\n") == 1
