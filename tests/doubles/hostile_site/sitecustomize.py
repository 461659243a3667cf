"""Put this directory on the PYTHONPATH of a client, and its nodes send bad replies.

``FEDSAFE_HOSTILE=3/5``: clients 3 to 7 are such clients; in round r they send the bad
replies from number 5 (r - 1) of `tests.doubles.hostile`, or of those whose name holds
``FEDSAFE_HOSTILE_KINDS``. The client is a real one in every
other way: the reply is spoilt after it trained, in the process of its node.
"""

import json
import os
import random
from pathlib import Path
from typing import Any

from tests.doubles import processes


def _spoil() -> None:
    from flwr.app import Message, RecordDict
    from flwr.clientapp import ClientApp

    from tests.doubles.hostile import HOSTILE, NESTED

    first, total = map(int, os.environ["FEDSAFE_HOSTILE"].split("/"))
    honest = ClientApp.__call__

    def call(self: ClientApp, message: Message, context: Any) -> Message:
        reply = honest(self, message, context)
        if message.metadata.message_type != "train" or reply.has_error():
            return reply
        number = json.loads(str(message.content["config"]["job"]))["client"] - first
        turn = int(message.content["config"]["server-round"]) - 1  # type: ignore[arg-type]
        every = HOSTILE | NESTED
        kinds = [
            kind for kind in sorted(every) if os.environ.get("FEDSAFE_HOSTILE_KINDS", "") in kind
        ]
        kind = kinds[(turn * total + number) % len(kinds)]
        content: RecordDict = every[kind](reply.content, random.Random(turn))
        with Path(os.environ["FEDSAFE_HOSTILE_LOG"]).open("a") as log:
            log.write(f"{turn + 1} {number} {kind}\n")
        return Message(content, reply_to=message)

    ClientApp.__call__ = call  # type: ignore[method-assign]


if (
    "FEDSAFE_HOSTILE" in os.environ
    and processes.NODE.encode() in Path("/proc/self/cmdline").read_bytes()
):
    _spoil()
