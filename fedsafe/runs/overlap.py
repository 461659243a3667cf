"""Record of how much made data repeats evaluation prompts.

Knows nothing of how it is found.
"""

from fedsafe.runs.scores import Record


class Overlap(Record):
    """How much of the data made for an attack or a defense repeats evaluation prompts."""

    samples: int = 0
    """Samples that were made and used."""
    removed_exact: int = 0
    """Others that were left out, as they repeat a prompt word for word."""
    removed_near: int = 0
    """Others that were left out as near-duplicates of a prompt."""
    kept_exact: int = 0
    """Used samples that repeat a prompt word for word."""
    kept_near: int = 0
    """Used samples that are near-duplicates of a prompt."""

    @property
    def said(self) -> str:
        """The overlap in words."""
        parts = [
            f"{exact} exact and {near} near duplicates of evaluation prompts {what}"
            for exact, near, what in (
                (self.removed_exact, self.removed_near, "removed"),
                (self.kept_exact, self.kept_near, "kept"),
            )
            if exact or near
        ]
        found = ", ".join(parts) or "none repeats an evaluation prompt"
        return f"{self.samples} samples: {found}"
