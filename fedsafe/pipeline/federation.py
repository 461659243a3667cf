"""Federation protocols of the pipeline; the server passes in the implementation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from fedsafe.experiment.schema import Experiment
from fedsafe.models import adapters
from fedsafe.models.adapters import Tensors
from fedsafe.runs.layout import RunFile
from fedsafe.runs.store import FederationStore

if TYPE_CHECKING:
    from fedsafe.pipeline.run_state import Run

Name = Literal["main", "control"]
FINISHED = (
    RunFile.ROUNDS,
    f"{RunFile.ADAPTER}/adapter_config.json",
    f"{RunFile.ADAPTER}/{adapters.WEIGHTS}",
)
"""Files of a finished federation, in its directory."""


@dataclass(frozen=True)
class GoesOn:
    """Where a federation begins that goes on after another.

    Attributes:
        start: The adapter of its first round.
        rounds: Rounds before it: what is drawn by the number of a round is drawn anew.
        identity: Names it and no other federation of the run.
    """

    start: Tensors
    rounds: int
    identity: str


class Federation(Protocol):
    """One federation, from its first round or its last checkpoint to its adapter."""

    def run(self) -> Tensors:
        """Run the rounds that are left; the records of all are in the store it was made with.

        Returns:
            The final adapter, which is also saved in the store.

        Raises:
            RunError: A round had too few usable replies, or they could not be combined.
        """
        ...


class Clients(Protocol):
    """The clients of a run, wherever they are."""

    def federation(
        self,
        name: Name,
        experiment: Experiment,
        store: FederationStore,
        after: GoesOn | None = None,
    ) -> Federation:
        """Return a federation of them, once enough of them are there.

        Args:
            name: What it is, for the clients.
            experiment: Its settings.
            store: Where its records lie.
            after: What it goes on from; None: it begins where the run does.

        Raises:
            RunError: Too few of them are there.
        """
        ...

    def end_rounds(self) -> None:
        """Tell the clients that no more rounds will come; called once or more."""
        ...

    def close(self) -> None:
        """Give clients that have not yet heard so a little time, at the end of the run."""
        ...


Connect = Callable[["Run"], Clients]
"""Returns a run's clients; it waits for none of them."""
