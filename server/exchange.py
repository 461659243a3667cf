"""Send messages and take replies one by one, until all are there or time is up.

Replies are matched by the message they answer: an error from an unreachable node
carries another sender. Knows nothing of what is in them.
"""

import time
from collections.abc import Iterator, Sequence

from flwr.app import Message
from flwr.serverapp import Grid

SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds between two looks for replies; grows while nothing comes."""


def replies(
    grid: Grid, messages: Sequence[Message], seconds: float
) -> Iterator[tuple[int, Message]]:
    """Yield (position of the message, its reply) as replies come.

    A message lives as long as the server waits for it: otherwise a straggler would work
    through stale ones for ever. Whoever has not answered in time is not yielded. A grid
    that works on messages one by one gives each of them all the time.
    """
    for message in messages:
        message.metadata.ttl = seconds
    ids = list(grid.push_messages(messages))
    waiting = {message_id: position for position, message_id in enumerate(ids) if message_id}
    deadline = time.monotonic() + seconds
    one_by_one = bool(getattr(grid, "one_by_one", False))
    pause = SHORTEST_PAUSE
    while waiting and time.monotonic() < deadline:
        came = False
        for reply in grid.pull_messages(list(waiting)):
            position = waiting.pop(reply.metadata.reply_to_message_id, None)
            if position is not None:
                came = True
                yield position, reply
        if came and one_by_one:
            deadline = time.monotonic() + seconds
        if waiting and not came:
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        elif came:
            pause = SHORTEST_PAUSE
