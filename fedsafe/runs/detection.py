"""Records of how well influence told malicious clients from honest ones.

Knows nothing of how it is counted.
"""

from pydantic import Field

from fedsafe.runs.scores import Record


class RoundDetection(Record):
    """How well influence told malicious clients from honest ones in one round."""

    round: int
    replies: int = 0
    """Clients whose influence is known, those dropped by the server's checks included."""
    malicious_share: float
    """Share of them that is malicious; what malicious clients would have of influence if every
    client counted alike."""
    malicious_influence: float | None = None
    """Share of influence that malicious clients had; None where nobody had any."""
    auc: float | None = None
    """Probability that an honest client's influence is larger than a malicious one's, ties
    counted half; None without either."""


class Detection(Record):
    """How well influence told malicious clients from honest ones, over a federation."""

    rejected_malicious: int
    """Malicious replies dropped by the server's checks, or left out by a rule that used at
    least half of the replies."""
    rejected_honest: int
    kept_malicious: int
    kept_honest: int
    passed_over_malicious: int = 0
    """Replies without influence in rounds where the rule used fewer than half (Krum picks
    one): neither rejected nor kept."""
    passed_over_honest: int = 0
    precision: float | None
    """Of the rejected, how many were malicious."""
    recall: float | None
    """Of the malicious that were rejected or kept, how many were rejected."""
    malicious_influence: float | None
    """Mean share of influence that malicious clients had, over rounds."""
    malicious_share: float | None = None
    """Mean share of the replies that was malicious, over the same rounds."""
    auc: float | None = None
    """Probability that an honest client's mean influence is larger than a malicious one's, ties
    counted half: 1 where all malicious clients count least, 0.5 where influence tells nothing."""
    p_value: float | None = None
    """One-sided Mann-Whitney probability of so large an AUC by chance."""
    rounds: list[RoundDetection] = Field(default_factory=list)
