"""What a stage is kept with beside its adapter and its scores."""

from typing import TypedDict

from fedsafe.runs.records import Detection, EarlyStop, Overlap, Scores


class StageNotes(TypedDict, total=False):
    """Further fields of a stage's record; see `fedsafe.runs.records.Stage`."""

    key: str
    after: str
    detection: Detection | None
    overlap: Overlap | None
    early_stop: EarlyStop | None
    by_round: list[Scores]
