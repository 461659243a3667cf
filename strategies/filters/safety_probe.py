"""Rejection of updates that turn the safety probe: harmful requests look harmless after them."""

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import DefenseCard, Updates, filters
from fedsafe.errors import ConfigError
from fedsafe.lazy import torch
from strategies.checks import AtLeast
from strategies.kernels.update_matrix import Rows


@filters(
    "safety-probe",
    paper="Xu et al., NeurIPS 2024 (SCAV, arXiv:2404.12038)",
    badge="variant: the paper's probe of hidden states, as a score of updates",
    card=DefenseCard(
        claim="An update after which the aligned model's probe takes harmful requests for benign "
        "ones comes from an attacker on safety.",
        needs=("safety examples",),
        cost="the harmful requests through the model once for each client and round",
        place="in the aggregation",
        nothing={"byzantine": 0},
    ),
    minimum=AtLeast(1, 1),
    traits={"mixing", "probe", "examples", "rejects"},
)
def safety_probe(
    updates: Updates,
    /,
    *,
    byzantine: Annotated[
        int, Field(ge=0, description="Updates rejected each round, those of the lowest scores, f.")
    ] = 1,
    threshold: Annotated[
        float | None,
        Field(ge=0, description="Reject instead every update that lowers the log-odds by more."),
    ] = None,
    requests: Annotated[
        int, Field(ge=1, description="Harmful requests that each update is scored on, at most.")
    ] = 32,
) -> Updates:
    """Reject the updates that lower the safety probe's log-odds of "harmful" most.

    Scores are ``Updates.probe``, which the server computes with each update applied alone, on
    held-out requests of ``safety_probe.harmful``. With a threshold at least one update is kept, of
    equal scores the lower row goes first. (n, d) -> (m, d), no row is formed.

    Raises:
        ConfigError: There are no scores, or no more clients than are to be rejected.
    """
    if byzantine == 0 and threshold is None:
        return updates
    rows = Rows.of(updates)
    scores = torch.tensor(_scores(updates, len(rows)), dtype=torch.float64)
    scores = scores.nan_to_num(nan=-torch.inf)  # a model that is not finite is no safe one
    count = byzantine
    if threshold is not None:
        count = min(int((scores < -threshold).sum()), len(rows) - 1)
    if count >= len(rows):
        raise ConfigError(
            f"Filter 'safety-probe' needs n >= f + 1 clients; got n={len(rows)}, f={count}. Lower "
            "byzantine, or sample more clients."
        )
    return _chosen(updates, rows, scores.argsort(stable=True)[count:].sort().values)


def _chosen(updates: Updates, rows: Rows, kept: "torch.Tensor") -> Updates:
    """Return the updates with some rows left, without forming them."""
    mixing = torch.zeros(len(kept), len(rows), dtype=torch.float64)
    mixing[torch.arange(len(kept)), kept] = 1
    weights = updates.weights[kept.to(updates.weights.device)]
    total = weights.sum()
    return replace(
        updates,
        mixing=rows.base_rows(mixing),
        weights=weights / total if float(total) > 0 else torch.full_like(weights, 1 / len(kept)),
        clients=tuple(updates.clients[row] for row in kept.tolist()),
    )


def _scores(updates: Updates, rows: int) -> list[float]:
    """Return the score of each row.

    Raises:
        ConfigError: There is none, or a filter before this one has merged rows.
    """
    if updates.probe is None:
        raise ConfigError(
            "Filter 'safety-probe' needs the safety probe's score of each update, and there is "
            "none. Give probe to strategies.aggregate or Updates, or run an experiment with "
            "safety_probe set: its server computes them."
        )
    if len(updates.clients) != rows or not set(updates.clients) <= updates.probe.keys():
        raise ConfigError(
            f"Filter 'safety-probe' has scores of {len(updates.probe)} clients for {rows} rows: a "
            "filter before it has merged clients. Name it first."
        )
    return [updates.probe[client] for client in updates.clients]
