"""Checks of a search before anything runs: attack, clean control and measures are there."""

from collections.abc import Sequence

from fedsafe.errors import ConfigError
from fedsafe.evaluation.scoring import labels
from fedsafe.experiment.schema import Experiment
from fedsafe.matrix.cells import Cell
from fedsafe.matrix.search_file import Search
from fedsafe.runs.scores import parts_of
from fedsafe.suggestions import suggestion


def check(cells: Sequence[Cell], search: Search) -> None:
    """See that every cell has what the search looks at.

    Raises:
        ConfigError: One has no attack, no clean control or not the measures.
    """
    for cell in cells:
        if cell.experiment.attack is None:
            raise ConfigError(
                f"search: cell {cell.name} has no attack whose settings could be searched. Leave "
                "such values out of the axes."
            )
        if search.keep and not cell.experiment.control:
            raise ConfigError(
                "control: a search with `keep` measures loss against the clean control. Set "
                "control: true, or keep: {}."
            )
        for key in (search.measure, *search.keep):
            _measured(key, cell.experiment)


def _measured(key: str, experiment: Experiment) -> None:
    """See that an experiment takes a measure.

    Raises:
        ConfigError: It does not, under that condition.
    """
    name, condition = parts_of(key)
    known = labels(experiment.evaluation.measures)
    if name not in known:
        raise ConfigError(
            f"search: there is no measure '{name}'.{suggestion(name, known)} "
            f"Measures: {', '.join(known)}."
        )
    asked = labels(experiment.evaluation.conditions)
    if condition not in asked:
        raise ConfigError(
            f"search: '{key}' is asked under no condition '{condition}'. "
            f"evaluation.conditions: {', '.join(asked)}."
        )
