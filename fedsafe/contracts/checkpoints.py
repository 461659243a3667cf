"""Where a defense of several rounds keeps what it has done, so that it goes on after a stop."""

from collections.abc import Mapping
from typing import Any, Protocol

from fedsafe.contracts.tensors import Adapter


class Checkpoints(Protocol):
    """What a defense has done so far; the model's random stream and counts go with it."""

    def load(self) -> dict[str, Any] | None:
        """Put back the adapter, the random stream and the counts of the last save.

        Returns:
            What was saved with them; None where nothing was.

        Raises:
            RunError: What lies there is not what was saved.
        """
        ...

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep the model's adapter as it is now, with a state of JSON values.

        Raises:
            RunError: The disk is full; what was saved before is whole.
        """
        ...

    def write_adapter(self, name: str, tensors: Adapter) -> None:
        """Leave a second adapter in the run, in PEFT's format, under a name of its own."""
        ...


class NoCheckpoints:
    """Keeps nothing: a defense that is stopped begins again."""

    def load(self) -> None:
        """Return None: nothing was saved."""

    def save(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""

    def write_adapter(self, name: str, tensors: Adapter) -> None:
        """Do nothing."""
