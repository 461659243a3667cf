"""The roll call's messages: who are you, and do you have what this run needs."""

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from pydantic import ValidationError

from fedsafe.messages import ANSWER, CONFIG, NEEDS, Hello
from server.transport.client_identity import Members


def question(node: int, members: Members | None) -> Message:
    """Return what a node is asked when it comes online."""
    needs = {} if members is None else {NEEDS: members.needs.model_dump_json()}
    content = RecordDict({CONFIG: ConfigRecord(dict(needs))})
    return Message(content, dst_node_id=node, message_type=f"{MessageType.QUERY}.hello")


def answer_in(reply: Message) -> Hello | None:
    """Return what a node says of itself; None: it does not say it."""
    if reply.has_error():
        return None
    try:
        return Hello.model_validate_json(str(reply.content[ANSWER]["hello"]))
    except (KeyError, TypeError, ValidationError):
        return None
