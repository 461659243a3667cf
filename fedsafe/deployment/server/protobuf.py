"""Read and write Flower's protobuf messages for the quota middleware."""

from typing import Any

from fedsafe.deployment.server.pending import NoReply
from fedsafe.flower.internals import (
    SUPERLINK_NODE_ID,
    ErrorCode,
    ProtoError,
    ProtoMessage,
    ProtoMetadata,
)
from fedsafe.messages import REFUSED


def objects(tree: Any) -> list[str]:
    """Return the objects of a tree, each as often as it occurs."""
    found, left = [], [tree]
    while left:
        one = left.pop()
        found.append(str(one.object_id))
        left.extend(one.children)
    return found


def end_of(question: str, why: NoReply) -> ProtoMessage:
    """Return what the server is told in place of a reply."""
    code = ErrorCode.MESSAGE_UNAVAILABLE if why.lost else REFUSED
    metadata = ProtoMetadata(
        reply_to_message_id=question,
        src_node_id=SUPERLINK_NODE_ID,
        dst_node_id=SUPERLINK_NODE_ID,
    )
    return ProtoMessage(metadata=metadata, error=ProtoError(code=code, reason=why.reason))


def leave_out(request: Any, unwanted: set[str]) -> None:
    """Remove questions from those that the server asks the replies of."""
    if unwanted:
        left = [one for one in request.message_ids if one not in unwanted]
        del request.message_ids[:]
        request.message_ids.extend(left)
