"""Pipelines of defenses: names of their stages, and what is refused before anything is loaded."""

from typing import Any

import pytest

from fedsafe.errors import ConfigError
from fedsafe.experiment.load import validate
from fedsafe.experiment.pipelines import pipelines_of, steps_of

TUNE = {"name": "fine-tune", "steps": 3}
ONE = {"name": "one-shot"}


def _names(*defenses: Any) -> list[str]:
    written = validate({"defenses": list(defenses)}).defenses
    return [step.name for step in steps_of(pipelines_of(written), "attacked")]


def test_steps_are_named_by_those_before_them() -> None:
    assert _names(TUNE, [ONE, TUNE]) == [
        "defended:fine-tune",
        "defended:one-shot",
        "defended:one-shot+fine-tune",
    ]


def test_beginning_that_several_share_is_one_step() -> None:
    assert _names([ONE, TUNE], [ONE, {**TUNE, "steps": 4}]) == [
        "defended:one-shot",
        "defended:one-shot+fine-tune",
        "defended:one-shot+fine-tune-2",
    ]


def test_step_of_other_settings_is_another_beginning() -> None:
    other = {**ONE, "steps": 1}
    assert _names([ONE, TUNE], [other, TUNE])[2:] == [
        "defended:one-shot-2",
        "defended:one-shot-2+fine-tune",
    ]


def test_step_knows_what_it_repairs() -> None:
    written = validate({"defenses": [[ONE, TUNE]]}).defenses
    assert [step.after for step in steps_of(pipelines_of(written), "given")] == [
        "given",
        "defended:one-shot",
    ]


@pytest.mark.parametrize(
    ("defenses", "problem"),
    [
        ([["fine-tune", "fine-tun"]], r"defenses\[0\]\[1\].name: Unknown defense 'fine-tun'"),
        ([[ONE, {**TUNE, "stepz": 1}]], r"defenses\[0\]\[1\].stepz: .*Did you mean 'steps'"),
        ([[]], r"defenses\[0\]: expected at least 1 items"),
        ([[ONE, TUNE], [ONE, TUNE]], r"defenses\[1\]: 'one-shot\+fine-tune' is there twice"),
        (["resta"], r"defenses\[0\]: 'resta' cannot run: it needs an unaligned model"),
        ([["one-shot", "safe-lora"]], r"defenses\[0\]\[1\]: 'safe-lora' cannot run: it needs"),
        (["lora-fusion"], r"'lora-fusion' cannot run: it merges with a safety adapter"),
        ([{"name": "one-shot", "response": "no"}], r"'one-shot' cannot run: an example is"),
        ([3], r"defenses\[0\]: expected a plug-in's name"),
    ],
)
def test_pipeline_that_cannot_run_is_a_sentence(defenses: list[Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        validate({"defenses": defenses})


def test_experiment_keeps_the_form_that_was_written() -> None:
    found = validate({"defenses": [TUNE, [ONE, TUNE]]})
    assert validate(found.model_dump(mode="json")) == found
    assert isinstance(found.model_dump(mode="json")["defenses"][0], dict)
