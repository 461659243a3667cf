"""Federation protocols of the pipeline; the server passes in the implementation."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

from fedsafe.experiment.schema import Experiment
from fedsafe.models.adapters import Tensors
from fedsafe.runs.store import FederationStore

if TYPE_CHECKING:
    from fedsafe.pipeline.run_state import Run

Name = Literal["main", "control"]


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

    def federation(self, name: Name, experiment: Experiment, store: FederationStore) -> Federation:
        """Return a federation of them, once enough of them are there.

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
