"""Overlap of training data with the evaluation: the signatures, and the counts of a stage."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fedsafe.contracts import Sample
from fedsafe.data.client_datasets import shares
from fedsafe.data.text_signatures import TextSignatures
from fedsafe.evaluation.evaluate import prompts_of
from fedsafe.experiment.schema import Experiment
from fedsafe.request_rules import is_about
from fedsafe.runs.records import Overlap, Round
from fedsafe.seeds import derive


def signatures(experiment: Experiment) -> TextSignatures:
    """Return the signatures of an experiment's evaluation prompts, under a key of its seed.

    Raises:
        DataError: A suite's file cannot be used.
    """
    key = f"{derive(experiment.seed, 'evaluation signatures'):016x}"
    return TextSignatures.of(
        (f"{prompt.instruction} {prompt.input}" for prompt in prompts_of(experiment)), key
    )


@dataclass
class OverlapCounter:
    """Tells which texts a defense may train on, and counts those that repeat the evaluation.

    Attributes:
        known: Signatures of the evaluation prompts.
        keep: Whether texts that repeat one may be used all the same.
        held_out: Beginnings of words that no text may have.
        removed: Texts left out, by kind.
        kept: Samples that the defense used, by kind; "" for those that repeat nothing.
    """

    known: TextSignatures
    keep: bool = False
    removed: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    held_out: Sequence[str] = ()

    def fresh(self, texts: Sequence[str]) -> list[bool]:
        """Return of each text whether it may be used; count those that may not."""
        kinds = [self._kind(text) for text in texts]
        self.removed.update(kind for kind in kinds if kind)
        return [not kind for kind in kinds]

    def _kind(self, text: str) -> str:
        """Return why a text may not be used: ``exact``, ``near`` or ``held out``; "": it may."""
        if is_about(text, self.held_out):
            return "held out"
        return "" if self.keep else self.known.kind(text)

    def use(self, samples: Iterable[Sample]) -> None:
        """Count samples that a defense keeps."""
        self.kept.update(self.known.kind(f"{one.instruction} {one.input}") for one in samples)

    def record(self) -> Overlap | None:
        """Return the counts; None where the defense kept no data."""
        if not self.kept:
            return None
        return Overlap(
            samples=self.kept.total(),
            removed_exact=self.removed["exact"],
            removed_near=self.removed["near"],
            kept_exact=self.kept["exact"],
            kept_near=self.kept["near"],
        )


def benign_overlap(experiment: Experiment) -> Overlap:
    """Return the overlap of the data that the clients are dealt; nothing of it is removed.

    Raises:
        DataError: The data or a suite's file cannot be read.
    """
    counter = OverlapCounter(signatures(experiment), keep=True)
    for share in shares(experiment):
        counter.use(share)
    return counter.record() or Overlap()


def attack_overlap(
    rounds: Iterable[Round], *, kept: bool, contaminated: bool = False
) -> Overlap | None:
    """Return the overlap of a federation's malicious samples, as its attackers say.

    Args:
        rounds: Of the federation; each attacker's samples are the same in all of them.
        kept: Whether samples that repeat an evaluation prompt were used.
        contaminated: Whether honest clients trained on malicious samples too; else what such a
            client says of any is not believed.
    """
    told = (c for r in rounds for c in r.clients if c.malicious or contaminated)
    clients = {c.client: c for c in told if c.poison_samples}
    if not clients:
        return None
    samples = sum(client.poison_samples for client in clients.values())
    exact = sum(client.poison_exact for client in clients.values())
    near = sum(client.poison_near for client in clients.values())
    if kept:
        return Overlap(samples=samples, kept_exact=exact, kept_near=near)
    return Overlap(samples=samples, removed_exact=exact, removed_near=near)
