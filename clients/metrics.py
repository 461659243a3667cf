"""Numbers that a client reports of its round: samples, loss, tokens, memory, seconds."""

from clients.role import Poison
from fedsafe.training.context import SessionContext


def of_round(context: SessionContext, poison: Poison | None) -> dict[str, int | float]:
    """Return the metrics of training and those of the malicious samples, if there are any."""
    return of_training(context) | of_poison(poison)


def of_training(context: SessionContext) -> dict[str, int | float]:
    """Sum the metrics of a round's calls of `fit`; the loss is the last one's."""
    if not context.fits:
        return {"num-examples": 0}
    did = [report for report, _ in context.fits]
    fits = [fit for _, fit in context.fits]
    return {
        "num-examples": max(fit.samples for fit in fits),
        "loss": fits[-1].loss,
        "skipped": max(fit.dropped for fit in fits),
        "truncated": max(fit.truncated for fit in fits),
        "tokens": sum(report.tokens for report in did),
        "padded-tokens": sum(report.padded for report in did),
        "peak-bytes": max(report.peak for report in did),
        "train-seconds": sum(report.seconds for report in did),
    }


def of_poison(poison: Poison | None) -> dict[str, int | float]:
    """Return how many malicious samples there are, and how many repeat evaluation prompts."""
    if poison is None:
        return {}
    return {
        "poison-samples": len(poison.samples),
        "poison-exact": poison.exact,
        "poison-near": poison.near,
    }
