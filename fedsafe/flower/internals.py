"""The private names of flwr that FedSafe uses, each loaded when first used.

Import them from here as from Flower itself; nothing of flwr loads before. A name that the
installed flwr does not have is an error of ours, a sentence with the versions that have it.
The protobuf messages that are named as Flower's public classes are called Proto... here.
"""
# ruff: noqa: F401 - what is imported here is for others

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from fedsafe.errors import LaunchError

if TYPE_CHECKING:
    from flwr.app.message import make_message, remove_content_from_message
    from flwr.cli.build import build_fab_from_files
    from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, SUPERLINK_NODE_ID, ErrorCode
    from flwr.common.logger import FLOWER_LOGGER, log
    from flwr.common.serde import fab_to_proto, message_to_proto, user_config_to_proto
    from flwr.proto.control_pb2 import (
        ListRunsRequest,
        RegisterNodeRequest,
        StartRunRequest,
        StopRunRequest,
        StreamLogsRequest,
    )
    from flwr.proto.error_pb2 import Error as ProtoError
    from flwr.proto.fleet_pb2 import (
        ActivateNodeRequest,
        DeactivateNodeRequest,
        PullMessagesRequest,
        PushMessagesRequest,
        RegisterNodeFleetRequest,
    )
    from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
    from flwr.proto.message_pb2 import (
        ConfirmMessageReceivedRequest,
        ObjectTree,
        PullObjectRequest,
    )
    from flwr.proto.message_pb2 import (
        Message as ProtoMessage,
    )
    from flwr.proto.message_pb2 import (
        Metadata as ProtoMetadata,
    )
    from flwr.proto.node_pb2 import Node
    from flwr.proto.runtime_pb2 import PullAppMessagesRequest
    from flwr.server.superlink.linkstate.in_memory_linkstate import (  # type: ignore[attr-defined]
        InMemoryLinkState,
        generate_rand_int_from_bytes,
    )
    from flwr.supercore.cli import flower_superexec
    from flwr.supercore.constant import (
        FLEET_HTTP_PUBLIC_KEY_HEADER,
        TASK_TYPE_TO_APPIO_API_ADDRESS_ARG,
        TASK_TYPE_TO_COMMAND,
    )
    from flwr.supercore.control import ControlHttpClient
    from flwr.supercore.error import FlowerError
    from flwr.supercore.fab import Fab
    from flwr.supercore.heartbeat import HeartbeatSender
    from flwr.supercore.inflatable.inflatable_object import (
        get_all_nested_objects,
        get_object_head_values_from_object_content,
        get_object_tree,
    )
    from flwr.supercore.inflatable.inflatable_protobuf_utils import (
        make_confirm_message_received_fn_protobuf,
        make_pull_object_fn_protobuf,
        make_push_object_fn_protobuf,
    )
    from flwr.supercore.inflatable.inflatable_utils import (
        ObjectPushError,
        inflate_object_from_contents,
        pull_and_inflate_object_from_tree,
        push_objects,
    )
    from flwr.supercore.primitives.asymmetric import public_key_to_bytes, uses_nist_ec_curve
    from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
    from flwr.supercore.retry import RetryInvoker, exponential
    from flwr.supercore.run import Run
    from flwr.supercore.runtime_version_compatibility import (
        RuntimeVersionMetadata,
        get_runtime_version_incompatibility_exit_message,
    )
    from flwr.supercore.superexec.executor import (
        ExecutionSpec,
        LaunchResult,
        SubprocessExecutor,
    )
    from flwr.supercore.task_identity import TaskIdentity
    from flwr.superlink.cli.flower_superlink import flower_superlink
    from flwr.superlink.extensions import configure_app
    from flwr.superlink.grid import HttpGrid, InMemoryGrid
    from flwr.superlink.main import create_app
    from flwr.supernode.fleet_http_client import FleetHttpClient
    from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

SUPPORTED: Final = ">=1.41,<1.43"
"""The releases of flwr whose private names are tested; the same as in pyproject.toml."""
NAMES: Final[dict[str, str]] = {
    "flwr.app.message": "make_message remove_content_from_message",
    "flwr.cli.build": "build_fab_from_files",
    "flwr.common.constant": "HEARTBEAT_DEFAULT_INTERVAL SUPERLINK_NODE_ID ErrorCode",
    "flwr.common.logger": "FLOWER_LOGGER log",
    "flwr.common.serde": "fab_to_proto message_to_proto user_config_to_proto",
    "flwr.proto.control_pb2": (
        "ListRunsRequest RegisterNodeRequest StartRunRequest StopRunRequest StreamLogsRequest"
    ),
    "flwr.proto.error_pb2": "Error=ProtoError",
    "flwr.proto.fleet_pb2": (
        "ActivateNodeRequest DeactivateNodeRequest PullMessagesRequest PushMessagesRequest "
        "RegisterNodeFleetRequest"
    ),
    "flwr.proto.heartbeat_pb2": "SendNodeHeartbeatRequest",
    "flwr.proto.message_pb2": (
        "ConfirmMessageReceivedRequest Message=ProtoMessage Metadata=ProtoMetadata ObjectTree "
        "PullObjectRequest"
    ),
    "flwr.proto.node_pb2": "Node",
    "flwr.proto.runtime_pb2": "PullAppMessagesRequest",
    "flwr.server.superlink.linkstate.in_memory_linkstate": (
        "InMemoryLinkState generate_rand_int_from_bytes"
    ),
    "flwr.supercore.cli": "flower_superexec",
    "flwr.supercore.constant": (
        "FLEET_HTTP_PUBLIC_KEY_HEADER TASK_TYPE_TO_APPIO_API_ADDRESS_ARG TASK_TYPE_TO_COMMAND"
    ),
    "flwr.supercore.control": "ControlHttpClient",
    "flwr.supercore.error": "FlowerError",
    "flwr.supercore.fab": "Fab",
    "flwr.supercore.heartbeat": "HeartbeatSender",
    "flwr.supercore.inflatable.inflatable_object": (
        "get_all_nested_objects get_object_head_values_from_object_content get_object_tree"
    ),
    "flwr.supercore.inflatable.inflatable_protobuf_utils": (
        "make_confirm_message_received_fn_protobuf make_pull_object_fn_protobuf "
        "make_push_object_fn_protobuf"
    ),
    "flwr.supercore.inflatable.inflatable_utils": (
        "ObjectPushError inflate_object_from_contents pull_and_inflate_object_from_tree "
        "push_objects"
    ),
    "flwr.supercore.primitives.asymmetric": "public_key_to_bytes uses_nist_ec_curve",
    "flwr.supercore.protobuf.translation": "PROTOBUF_REQUEST_TYPES",
    "flwr.supercore.retry": "RetryInvoker exponential",
    "flwr.supercore.run": "Run",
    "flwr.supercore.runtime_version_compatibility": (
        "RuntimeVersionMetadata get_runtime_version_incompatibility_exit_message"
    ),
    "flwr.supercore.superexec.executor": "ExecutionSpec LaunchResult SubprocessExecutor",
    "flwr.supercore.task_identity": "TaskIdentity",
    "flwr.superlink.extensions": "configure_app",
    "flwr.superlink.cli.flower_superlink": "flower_superlink",
    "flwr.superlink.grid": "HttpGrid InMemoryGrid",
    "flwr.superlink.main": "create_app",
    "flwr.supernode.fleet_http_client": "FleetHttpClient",
    "flwr.supernode.node_auth_http_interceptor": "NodeAuthHttpInterceptor",
}
"""The names of each module, with ``=`` and what they are called here where that differs."""


def _homes() -> dict[str, tuple[str, str]]:
    """Return module and name in it, by the name here."""
    return {
        here or there: (module, there)
        for module, names in NAMES.items()
        for there, _, here in (name.partition("=") for name in names.split())
    }


HOMES: Final = _homes()
"""Module of flwr and name in it, by the name in this module."""


def installed() -> str:
    """Return the version of flwr that is installed; "" for none."""
    try:
        return version("flwr")
    except PackageNotFoundError:
        return ""


def unsupported(missing: list[str]) -> LaunchError:
    """Return the error for an installed flwr without something that FedSafe uses.

    Args:
        missing: What it does not have, each by its full name.
    """
    shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else "")
    return LaunchError(f"FedSafe cannot work with this Flower, which lacks {shown}. {support()}")


def support() -> str:
    """Return which flwr is installed, which FedSafe supports, and how to install that."""
    version = f"flwr {installed()}" if installed() else "no flwr"
    return (
        f"Found {version}; FedSafe is tested with flwr{SUPPORTED}: `pip install 'flwr{SUPPORTED}'`."
    )


def load(name: str) -> Any:
    """Return one of the private names.

    Raises:
        LaunchError: The installed flwr does not have it.
    """
    module, there = HOMES[name]
    try:
        return getattr(import_module(module), there)
    except (ImportError, AttributeError) as error:
        raise unsupported([f"{module}.{there}"]) from error


def __getattr__(name: str) -> Any:
    """Load a name of flwr's when it is first used.

    Raises:
        LaunchError: The installed flwr does not have it.
    """
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, load(name))
