"""Updates that an update attack knows or can imitate: the rows its statistics are taken over.

Shared by the update attacks; no attack itself.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fedsafe.attacks.line_search import most_damaging
from fedsafe.contracts import Knowledge
from fedsafe.errors import RunError
from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Knows = Annotated[
    Literal["own", "colluders", "honest", "all"],
    Field(
        description="Whose updates it knows: the attacker's own benign ones (attack.estimates of "
        "them), all colluders' benign ones, the honest clients', or colluders' and honest."
    ),
]
"""A setting ``knows`` of attacks that take statistics of other clients' updates."""
Ddof = Annotated[int, Field(ge=0, le=1, description="1: standard deviation over m - 1, 0: over m.")]


def rows_known(knowledge: Knowledge, least: int = 1) -> "Tensor":
    """Return the updates that the attacker's statistics are taken over, (m, d).

    The attackers' own benign updates come first, then the honest clients'. A single row is
    repeated where the attack needs more, which is reported: a round may ask one attacker alone.

    Args:
        knowledge: As far as the attack's setting ``knows`` fills it.
        least: Number of rows that the attack's statistics need.

    Raises:
        RunError: There is none.
    """
    parts = [part for part in (knowledge.benign, knowledge.honest) if part is not None]
    count = sum(len(part) for part in parts)
    if count == 0:
        raise RunError(
            f"The update attack of client {knowledge.client} knows no update in round "
            f"{knowledge.round}. Set attack.update.knows to own, colluders or all."
        )
    rows = parts[0] if len(parts) == 1 else torch.cat(parts)
    if count >= least:
        return rows
    knowledge.report(
        f"The update attack of client {knowledge.client} knows one update in round "
        f"{knowledge.round} and takes all others to be like it. Raise attack.estimates, let more "
        "clients be malicious (attack.malicious), or set attack.update.knows to honest or all."
    )
    return rows.repeat(least, 1)


def row_of_each(knowledge: Knowledge, least: int = 1) -> "Tensor":
    """Return one benign update of each known client, (m, d): attackers by place, then honest.

    Of an attacker's several estimates (``attack.estimates``) it is the mean. Else as `rows_known`.
    """
    rows, colluders, benign = rows_known(knowledge, least), knowledge.colluders, knowledge.benign
    if colluders is None or benign is None or len(benign) == len(colluders):
        return rows
    own = benign.reshape(len(colluders), -1, benign.shape[1]).mean(dim=1)
    return own if knowledge.honest is None else torch.cat([own, knowledge.honest])


def mean_and_deviation(rows: "Tensor", ddof: int = 1) -> "tuple[Tensor, Tensor]":
    """Return mean and standard deviation of each coordinate, both (d,); 0 of a single row."""
    mean = rows.mean(dim=0)
    return mean, rows.std(dim=0, correction=ddof) if len(rows) > 1 else mean.new_zeros(mean.shape)


def normal_draws(knowledge: Knowledge, *shape: int) -> "Tensor":
    """Draw standard normal numbers from the attacker's stream."""
    return torch.randn(shape, generator=_generator(knowledge))


def uniform_draws(knowledge: Knowledge, *shape: int) -> "Tensor":
    """Draw numbers from 0 to 1 from the attacker's stream."""
    return torch.rand(shape, generator=_generator(knowledge))


def crowd_of(knowledge: Knowledge, draw: int = 0) -> "Tensor":
    """Return the n - f honest updates of the round, as far as the attacker can imitate them.

    The honest clients' own where they are known. Else drawn as normal numbers from what the known
    benign rows say of further ones: with their standard deviation, around a mean drawn from its
    posterior (James and Stein's shrinkage), so that norms and distances are those expected. The
    draws are the same for all who know the same rows: colluders agree without another word;
    ``draw`` numbers several. A single row is repeated.
    """
    if knowledge.honest is not None and len(knowledge.honest):
        return knowledge.honest
    rows = rows_known(knowledge)
    wanted = max(knowledge.cohort - knowledge.attackers, 1)
    if len(rows) < 2:
        return rows.repeat(wanted, 1)
    mean, deviation = mean_and_deviation(rows)
    drawn = common_draws(rows, wanted + 1, draw)
    uncertain = deviation.square().sum() / len(rows)
    shrunk = (1 - uncertain / mean.square().sum().clamp_min(1e-30)).clamp(0, 1)
    centre = shrunk * mean + deviation * drawn[0] * (shrunk / len(rows)).sqrt()
    return centre + deviation * drawn[1:]


def tried(knowledge: Knowledge, forged: "Tensor", crowd: "Tensor") -> "tuple[Tensor, Tensor]":
    """Return what the server's rule makes of forged updates among honest ones.

    Args:
        knowledge: With ``aggregate``.
        forged: (f, d), the attackers' updates, which come first.
        crowd: (n - f, d).

    Returns:
        The combined update (d,) and the influence of each forged one (f,).

    Raises:
        RunError: The server's strategy is no rule that can be tried out.
    """
    if knowledge.aggregate is None:
        raise RunError(
            "This update attack tries its update against the server's rule, and the strategy is "
            "none that can be tried out: a Flower strategy. Choose a rule of FedSafe, or an "
            "attack that need not know it."
        )
    found = knowledge.aggregate(torch.cat([forged, crowd]))
    return found.update, found.influence[: len(forged)]


def farthest_from_mean(
    knowledge: Knowledge,
    crowd: "Tensor",
    forged: "Callable[[float], Tensor]",
    search: tuple[int, float, float, float],
) -> "Tensor":
    """Return the forged update that moves the server's rule farthest from the crowd's mean, (d,).

    Args:
        knowledge: With ``aggregate``.
        crowd: (n - f, d).
        forged: The update (d,) of a size, which all attackers send.
        search: Evaluations, start, step and ratio of ByzFL's search.

    Raises:
        RunError: The server's strategy is no rule that can be tried out.
    """
    mean = crowd.mean(dim=0)

    def damage(size: float) -> float:
        sent = forged(size).expand(knowledge.attackers, -1)
        return float((tried(knowledge, sent, crowd)[0] - mean).norm())

    return forged(most_damaging(damage, *search))


def nearest_sums(rows: "Tensor", neighbours: int) -> "Tensor":
    """Return Krum scores: each row's sum of squared distances to its nearest others, (n,)."""
    squared = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square()
    squared.fill_diagonal_(torch.inf)
    return squared.sort(dim=1).values[:, : max(neighbours, 0)].sum(dim=1)


def krum_choice(rows: "Tensor", byzantine: int) -> int:
    """Return the row that Krum takes, with n - f - 2 neighbours and at least one."""
    return int(nearest_sums(rows, max(len(rows) - byzantine - 2, 1)).argmin())


def _generator(knowledge: Knowledge) -> "torch.Generator":
    return torch.Generator().manual_seed(knowledge.rng.getrandbits(63))


def common_draws(rows: "Tensor", count: int, draw: int = 0) -> "Tensor":
    """Draw standard normal numbers (count, d), the same for all who know the same rows.

    Args:
        rows: The known updates, (m, d).
        count: How many of them.
        draw: Numbers several draws for the same rows.
    """
    content = rows[:, :4096].contiguous().double().cpu().numpy().tobytes()
    seed = int.from_bytes(sha256(content).digest()[:7], "big") + draw
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, rows.shape[1], generator=generator).to(rows)
