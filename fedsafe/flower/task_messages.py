"""A Flower message's id, and the task in which this process makes messages.

Flower keeps both where no public name leads to, and does not notice when one is set under a
name that it no longer reads; each function here does.
"""

from typing import Any, Protocol

from fedsafe.flower.internals import load, unsupported


class HasMetadata(Protocol):
    """A `flwr.app.Message`."""

    @property
    def metadata(self) -> Any:
        """Its `flwr.app.Metadata`."""


def set_message_id(message: HasMetadata, identity: str) -> None:
    """Give a message its id, as Flower's own grids do when they send or receive one.

    Raises:
        LaunchError: The installed flwr keeps the id elsewhere.
    """
    message.metadata.__dict__["_message_id"] = identity
    if message.metadata.message_id != identity:
        raise unsupported(["flwr.app.Metadata._message_id"])


def enter_task(run: int, node: int, task: int) -> None:
    """Make this process a Flower task; messages can be made inside of one only.

    Args:
        run: Id of the run that the messages belong to.
        node: Id of the node that sends them.
        task: Id of the task.

    Raises:
        LaunchError: The installed flwr keeps a task's identity elsewhere.
    """
    identity = load("TaskIdentity")
    for name, value in (("run_id", run), ("node_id", node), ("task_id", task)):
        if not isinstance(getattr(type(identity), name, None), property):
            raise unsupported([f"flwr.supercore.task_identity.TaskIdentity.{name}"])
        setattr(identity, name, value)
