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
    """Return the object ids of an ObjectTree, with repetitions."""
    object_ids, left = [], [tree]
    while left:
        one = left.pop()
        object_ids.append(str(one.object_id))
        left.extend(one.children)
    return object_ids


def end_of(question: str, why: NoReply) -> ProtoMessage:
    """Build the error message that the server receives in place of a reply."""
    code = ErrorCode.MESSAGE_UNAVAILABLE if why.lost else REFUSED
    metadata = ProtoMetadata(
        reply_to_message_id=question,
        src_node_id=SUPERLINK_NODE_ID,
        dst_node_id=SUPERLINK_NODE_ID,
    )
    return ProtoMessage(metadata=metadata, error=ProtoError(code=code, reason=why.reason))


def leave_out(request: Any, unwanted: set[str]) -> None:
    """Remove message ids from a request that pulls replies."""
    if unwanted:
        left = [one for one in request.message_ids if one not in unwanted]
        del request.message_ids[:]
        request.message_ids.extend(left)
