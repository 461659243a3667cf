"""Flower's protobuf messages, as the guard reads and writes them."""

from typing import Any

from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.proto.error_pb2 import Error
from flwr.proto.message_pb2 import Message, Metadata

from fedsafe.deployment.server.pending import Over
from fedsafe.messages import REFUSED


def objects(tree: Any) -> list[str]:
    """Return the objects of a tree, each as often as it occurs."""
    found, left = [], [tree]
    while left:
        one = left.pop()
        found.append(str(one.object_id))
        left.extend(one.children)
    return found


def end_of(question: str, why: Over) -> Message:
    """Return what the server is told in place of a reply."""
    code = ErrorCode.MESSAGE_UNAVAILABLE if why.lost else REFUSED
    metadata = Metadata(
        reply_to_message_id=question,
        src_node_id=SUPERLINK_NODE_ID,
        dst_node_id=SUPERLINK_NODE_ID,
    )
    return Message(metadata=metadata, error=Error(code=code, reason=why.reason))


def leave_out(request: Any, unwanted: set[str]) -> None:
    """Remove questions from those that the server asks the replies of."""
    if unwanted:
        left = [one for one in request.message_ids if one not in unwanted]
        del request.message_ids[:]
        request.message_ids.extend(left)
