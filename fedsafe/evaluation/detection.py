"""Attacker detection: how well a rule's influence told malicious clients from honest ones.

Knows nothing of models, judges or rules.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from fedsafe.runs.records import Client, Detection, Round, RoundDetection


def detection(rounds: Iterable[Round]) -> Detection:
    """Return precision, recall, influence shares and the AUC of influence, over a federation.

    A reply is *rejected* when the server's checks dropped it or the rule gave it no influence
    while it used at least half of the others. A rule that uses fewer than half (Krum takes
    one) relies on an honest majority as every rule does, so it does not call the rest
    malicious: they are *passed over*, and count in neither precision nor recall. Clients that
    never answered, failed, or whose influence nobody knows, are not counted at all.

    Rules that average by coordinate give every client some influence; they are judged by the
    malicious clients' share of influence against their share of the replies, and by the AUC
    of influence: the probability that an honest client's is larger than a malicious one's,
    ties counted half (Mann-Whitney U over the number of pairs).
    """
    parts = [_Replies.of(one) for one in rounds]
    caught, wronged = _count(parts, "rejected", True), _count(parts, "rejected", False)
    missed = _count(parts, "kept", True)
    honest, malicious = _mean_influences(parts)
    scored = [part.scored for part in parts]
    weighed = [one for one in scored if one.malicious_influence is not None] if malicious else []
    auc, chance = _mann_whitney(honest, malicious)
    return Detection(
        rejected_malicious=caught,
        rejected_honest=wronged,
        kept_malicious=missed,
        kept_honest=_count(parts, "kept", False),
        passed_over_malicious=_count(parts, "passed over", True),
        passed_over_honest=_count(parts, "passed over", False),
        precision=caught / (caught + wronged) if caught + wronged else None,
        recall=caught / (caught + missed) if caught + missed else None,
        malicious_influence=fmean(one.malicious_influence or 0.0 for one in weighed)
        if weighed
        else None,
        malicious_share=fmean(one.malicious_share for one in weighed) if weighed else None,
        auc=auc,
        p_value=chance,
        rounds=[one for one in scored if one.replies],
    )


@dataclass(frozen=True)
class _Replies:
    """The clients of a round whose influence is known, and that influence."""

    round: int
    clients: tuple[Client, ...]
    influence: tuple[float, ...]

    @classmethod
    def of(cls, record: Round) -> "_Replies":
        known = [(client, _influence(client)) for client in record.clients]
        present = [(client, influence) for client, influence in known if influence is not None]
        return cls(record.round, tuple(c for c, _ in present), tuple(i for _, i in present))

    @property
    def fates(self) -> list[str]:
        """What became of each reply: rejected, kept or passed over."""
        accepted = sum(client.status == "accepted" for client in self.clients)
        used = sum(influence > 0 for influence in self.influence)
        few = 0 < used < accepted / 2
        return [
            "kept"
            if influence > 0
            else ("passed over" if few and client.status == "accepted" else "rejected")
            for client, influence in zip(self.clients, self.influence, strict=True)
        ]

    @property
    def relative(self) -> list[float]:
        """Influence of each reply in units of an equal share, so that rounds can be averaged."""
        total = sum(self.influence)
        return [
            influence / total * len(self.influence) if total > 0 else 0.0
            for influence in self.influence
        ]

    @property
    def scored(self) -> RoundDetection:
        total = sum(self.influence)
        bad = [i for c, i in zip(self.clients, self.influence, strict=True) if c.malicious]
        good = [i for c, i in zip(self.clients, self.influence, strict=True) if not c.malicious]
        return RoundDetection(
            round=self.round,
            replies=len(self.clients),
            malicious_share=len(bad) / len(self.clients) if self.clients else 0.0,
            malicious_influence=sum(bad) / total if total > 0 else None,
            auc=_mann_whitney(good, bad)[0],
        )


def _influence(client: Client) -> float | None:
    """Return how much a client counted in a round, if it answered and that is known."""
    if client.status in ("missing", "failed"):
        return None
    return 0.0 if client.status == "dropped" else client.influence


def _count(parts: Sequence[_Replies], fate: str, malicious: bool) -> int:
    return sum(
        one == fate and client.malicious == malicious
        for part in parts
        for client, one in zip(part.clients, part.fates, strict=True)
    )


def _mean_influences(parts: Sequence[_Replies]) -> tuple[list[float], list[float]]:
    """Return the mean influence of each honest and of each malicious client over its rounds.

    By client, since the rounds of one client are not independent, and since a rule that picks
    one client a round tells only over many rounds whom it avoids.
    """
    seen: dict[tuple[int, bool], list[float]] = {}
    for part in parts:
        for client, influence in zip(part.clients, part.relative, strict=True):
            seen.setdefault((client.client, client.malicious), []).append(influence)
    means = {key: fmean(values) for key, values in seen.items()}
    honest = [mean for (_, malicious), mean in means.items() if not malicious]
    return honest, [mean for (_, malicious), mean in means.items() if malicious]


def _mann_whitney(
    honest: Sequence[float], malicious: Sequence[float]
) -> tuple[float | None, float | None]:
    """Return the AUC, and the one-sided probability of one as large by chance."""
    if not honest or not malicious:
        return None, None
    from scipy.stats import mannwhitneyu

    if min(*honest, *malicious) == max(*honest, *malicious):  # all tied: no spread to test
        return 0.5, 1.0
    found = mannwhitneyu(honest, malicious, alternative="greater")
    return float(found.statistic) / (len(honest) * len(malicious)), float(found.pvalue)
