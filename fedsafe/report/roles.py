"""The role of a stage in drawings: the class that gives it color and shape."""

from fedsafe.report.defenses import AGAIN
from fedsafe.runs.records import Stage

ROLES = {
    **{"base": "base", "aligned": "aligned", "clean": "clean", "attacked": "attacked"},
    **dict.fromkeys(("trained", "given"), "clean"),
}


def role(stage: Stage) -> str:
    """Return the class that gives a stage its color."""
    return ROLES.get(stage.name, "attacked" if stage.name.startswith(AGAIN) else "defended")
