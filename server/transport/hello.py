"""Registration messages: ask a node for its client number and capabilities."""

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from pydantic import ValidationError

from fedsafe.messages import ANSWER, CONFIG, NEEDS, Hello
from server.transport.client_identity import ClientIdentities


def question(node: int, members: ClientIdentities | None) -> Message:
    """Return the registration request for a node that came online."""
    needs = {} if members is None else {NEEDS: members.needs.model_dump_json()}
    content = RecordDict({CONFIG: ConfigRecord(dict(needs))})
    return Message(content, dst_node_id=node, message_type=f"{MessageType.QUERY}.hello")


def answer_in(reply: Message) -> Hello | None:
    """Parse a node's registration reply; None if it is not one."""
    if reply.has_error():
        return None
    try:
        return Hello.model_validate_json(str(reply.content[ANSWER]["hello"]))
    except (KeyError, TypeError, ValidationError):
        return None
