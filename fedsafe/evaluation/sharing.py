"""Evaluations that several runs share: equal replies are not generated nor judged again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fedsafe.evaluation import kept
from fedsafe.runs.files import digest
from fedsafe.runs.records import Scores


class FinishedFiles(Protocol):
    """Files by key that several runs share (`fedsafe.pipeline.stage_store.StageStore`)."""

    def fetch(self, key: str, home: Path) -> dict[str, Any] | None:
        """Put the files of a key into a directory and return its notes; None: there are none."""
        ...

    def put(self, key: str, home: Path, files: Sequence[str] | None = None, **notes: Any) -> None:
        """Keep files of a directory under a key."""
        ...


@dataclass(frozen=True)
class SharedEvaluations:
    """Evaluations of other runs: equal replies are not generated again, nor judged again.

    Attributes:
        files: Where they are kept.
        judged_by: Digest of judges and measures with their settings and code.
    """

    files: FinishedFiles
    judged_by: str

    def scores(self, key: str, target: str, directory: Path) -> Scores | None:
        """Fetch a whole evaluation, or its replies alone; return the scores of a whole one."""
        whole = self.files.fetch(digest("evaluation", key, target, self.judged_by), directory)
        if whole is not None:
            return Scores.model_validate(whole["scores"])
        self.files.fetch(digest("replies", key), directory)
        return None

    def keep(self, key: str, target: str, directory: Path, found: Scores) -> Scores:
        """Keep an evaluation, and its replies for other judges; return its scores."""
        self.files.put(digest("replies", key), directory, (kept.EXCHANGES, kept.CHECKSUM))
        scores = found.model_dump(mode="json")
        whole = digest("evaluation", key, target, self.judged_by)
        self.files.put(whole, directory, scores=scores)
        return found
