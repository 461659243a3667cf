"""Whatever is written as an experiment: an experiment that loads back, or sentences."""

import itertools
from pathlib import Path

import pytest

from tests.properties.experiment_inputs import Input, fault_of, inputs

COUNT = 240


@pytest.mark.parametrize("given", list(inputs(COUNT, seed=7)), ids=lambda given: given.kind)
def test_experiment_is_valid_or_refused_in_sentences(
    given: Input, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fault_of(given, tmp_path)[1] == ""


def test_every_kind_of_input_is_there() -> None:
    kinds = {given.kind for given in itertools.islice(inputs(COUNT), COUNT)}
    assert len(kinds) == 6
