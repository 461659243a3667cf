"""Input checks of rules: enough clients, finite rows, a root update or model where needed.

Knows nothing of how updates are combined.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedsafe.contracts import Updates, rules
from fedsafe.errors import ConfigError
from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class AtLeast:
    """Smallest cohort of a rule: ``slope * byzantine + base`` clients."""

    slope: int
    base: int

    def __call__(self, *, byzantine: int = 0, **_: Any) -> int:
        """Return the number of clients needed."""
        return self.slope * byzantine + self.base

    def __str__(self) -> str:
        """Return the bound as a formula in f."""
        return f"{self.slope}f + {self.base}" if self.slope else str(self.base)


def require(name: str, rows: int, **settings: Any) -> None:
    """Raise a sentence if a rule has too few rows for its settings.

    Raises:
        ConfigError: There are fewer rows than the rule's ``minimum``.
    """
    minimum = rules[name].minimum
    if minimum is None:
        enough, bound, given = 1, "1", ""
    else:
        enough, bound = minimum(**settings), str(minimum)
        given = f", f={settings['byzantine']}" if "byzantine" in settings else ""
    if rows >= enough:
        return
    bound = bound if isinstance(minimum, AtLeast) else str(enough)
    remedy = "Lower byzantine or sample more clients." if given else "Sample more clients."
    raise ConfigError(f"Rule '{name}' needs n >= {bound} clients; got n={rows}{given}. {remedy}")


def need_clients(name: str, updates: Updates, rows: int) -> tuple[str, ...]:
    """Return who each row came from, for a rule with a memory.

    Raises:
        ConfigError: A filter has merged the clients, so that none can be remembered.
    """
    if not updates.clients and updates.mixing is None:
        return tuple(str(row) for row in range(rows))
    if len(updates.clients) != rows:
        raise ConfigError(
            f"Rule '{name}' remembers clients, but gets {rows} rows of "
            f"{len(updates.clients)} clients. Drop the filter that merges clients."
        )
    return updates.clients


def need_root(name: str, updates: Updates) -> "Tensor":
    """Return the server's own update.

    Raises:
        ConfigError: The server has none.
    """
    if updates.root is None:
        raise ConfigError(
            f"'{name}' needs an update of the server's own trusted examples, and there is none. "
            "Give root to strategies.aggregate or Updates, or choose a rule or filter that does "
            "without."
        )
    return updates.root.detach()


def need_model(name: str, updates: Updates) -> "Tensor":
    """Return the adapter that the clients were sent.

    Raises:
        ConfigError: It is not known.
    """
    if updates.model is None:
        raise ConfigError(
            f"'{name}' compares updates with the model, which was not given. Give model to "
            "strategies.aggregate or Updates, or choose a rule or filter that does without."
        )
    return updates.model.detach()


def reject(rows: "Tensor") -> ValueError:
    """Return the error that names each row with NaN or infinity, given (n,) finite or not."""
    bad = torch.nonzero(~rows).flatten().tolist()
    which = f"row {bad[0]}" if len(bad) == 1 else f"rows {', '.join(map(str, bad))}"
    return ValueError(f"Updates must be finite; {which} of {len(rows)} holds NaN or infinity.")
