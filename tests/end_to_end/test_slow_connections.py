"""Connections that are slow, silent or dead cost their callers time, and nobody else."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest
from flwr.proto.message_pb2 import PullObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

from fedsafe.deployment.child_processes import Child, wait_until
from fedsafe.deployment.server.limits_middleware import AT_ONCE
from fedsafe.deployment.server.nginx import PER_KEY, Timeouts, nginx
from tests.doubles.deployment import Client, adapter, ask, status_of
from tests.doubles.far import HERE, THERE, far_machine
from tests.doubles.place import Place, server_machine
from tests.doubles.slow import SENDING, Crowd, Door

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),  # Flower's own
    pytest.mark.skipif(nginx() is None, reason="nginx is not installed (apt: nginx-light)"),
]
MIB = 1024**2
SHORT = Timeouts(header=3, body=4, send=5, idle=6)
OF_EACH = 25
SLACK = 3.0
"""Seconds that a busy machine may add."""
ENOUGH = 60.0
"""Seconds after which a test looks at what is left."""
POOL = 32
"""Connections to the SuperLink that the front keeps for the next requests."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with server_machine(tmp_path_factory.mktemp("server"), ["127.0.0.1", HERE]) as place:
        yield place


@pytest.fixture(scope="module")
def grid(place: Place) -> Iterator[Any]:
    with place.run() as grid:
        yield grid


LIMITS = {
    "silent": SHORT.header,
    "slow handshake": SHORT.header,
    "silent after the handshake": SHORT.header,
    "slow header": SHORT.header,
    "slow body": SENDING + SHORT.body,  # each byte buys it time
    "no body": SHORT.body,
    "unread answer": SHORT.send,
    "slow stranger": SHORT.send,
    "idle": SHORT.idle,
}


@dataclass
class ConnectionCheck:
    """What a client at work sees, and what the SuperLink holds meanwhile."""

    slowest: dict[str, float] = field(default_factory=dict)
    pooled: int = 0
    memory: int = 0
    rounds: int = 0

    def time(self, name: str, call: Callable[[], Any]) -> Any:
        begun = time.monotonic()
        answer = call()
        taken = time.monotonic() - begun
        self.slowest[name] = max(taken, self.slowest.get(name, 0.0))
        return answer


def work(place: Place, grid: Any, client: Client, seen: ConnectionCheck) -> None:
    """Have a client do once what clients do."""
    assert seen.time("heartbeat", client.beat)
    message = ask(grid, client.node, "train", adapter(MIB, seed=seen.rounds))
    question = seen.time("pull-messages", client.question)
    seen.time("confirm", lambda: client.confirm(question))
    reply = adapter(MIB, seed=1000 + seen.rounds)
    seen.time("reply", lambda: client.answer(question, reply))
    (got,) = grid.pull_messages([message])
    assert got.content["arrays"]["lora"].numpy().nbytes == MIB
    seen.rounds += 1
    seen.pooled = max(seen.pooled, connections(place.fronts[-1], place.inner))
    seen.memory = max(seen.memory, place.memory())


def door(place: Place, grid: Any, number: int) -> Door:
    """Return the front of a place as a member finds it who was sent a large object."""
    client, content = place.member(number), adapter(5 * MIB)
    ask(grid, client.node, "train", content)
    run = client.question().metadata.run_id
    parts = {name: len(one.deflate()) for name, one in get_all_nested_objects(content).items()}
    large = max(parts, key=lambda name: parts[name])
    message = PullObjectRequest(node=Node(node_id=client.node), run_id=run, object_id=large)
    assert len(client.fleet.PullObject(message).object_content) >= 5 * MIB
    host, _, port = place.outer.rpartition(":")
    return Door(host, int(port), client.key, lambda: client.request("pull-object", message))


def late(stood: dict[str, float]) -> dict[str, float]:
    """Return how long those kinds stood that the front should have hung up on earlier."""
    return {kind: taken for kind, taken in stood.items() if taken > LIMITS[kind] + SLACK}


def connections(front: Child, address: str) -> int:
    """Return how many connections a front has to an address."""
    port = int(address.rpartition(":")[2])
    found = psutil.Process(front.pid).net_connections("tcp")
    return sum(1 for one in found if one.raddr and one.raddr.port == port)


def test_a_crowd_of_slow_callers_is_hung_up_on_and_nobody_else_waits(
    place: Place, grid: Any
) -> None:
    place.open_front(patience=SHORT)
    fronts = [door(place, grid, number) for number in range(3, 8)]
    seen, good = ConnectionCheck(), place.member(2)
    for _ in range(3):
        work(place, grid, good, seen)
    before = place.memory()
    seen, end = ConnectionCheck(), time.monotonic() + ENOUGH
    with Crowd() as crowd:
        for number in range(OF_EACH):
            crowd.callers += [call() for call in fronts[number % len(fronts)].kinds]
        for number in range(2 * POOL - OF_EACH):
            crowd.callers.append(fronts[number % len(fronts)].deaf())
        seen.time("activate", lambda: place.member(1))
        while crowd.left and time.monotonic() < end:
            work(place, grid, good, seen)
        stood = crowd.longest()
    more = (seen.memory - before) / MIB
    print(  # noqa: T201 - for who looks: pytest -s
        f"\n{len(crowd.callers)} callers stood, at most: {stood}"
        f"\na client at work waited, at most: {seen.slowest}, in {seen.rounds} rounds"
        f"\n{seen.pooled} connections to the SuperLink, {more:.1f} MiB more in it"
    )
    assert max(seen.slowest.values()) < 5
    assert late(stood) == {}
    assert seen.pooled <= POOL + AT_ONCE
    assert more < 64


def test_those_of_a_machine_that_vanished_end_as_well(place: Place, grid: Any) -> None:
    with far_machine() as far:
        place.open_front(HERE, SHORT)
        front, good = door(place, grid, 3), place.client(2)
        good.node = place.member(2).node
        callers = far.run(lambda: [call() for call in front.kinds * 4])
        kinds = {caller.socket.getsockname()[1]: caller.kind for caller in callers}
        assert set(_ports(place.fronts[-1])) <= set(kinds)
        far.vanish()
        seen, stood, begun = ConnectionCheck(), dict.fromkeys(LIMITS, 0.0), time.monotonic()
        while (left := _ports(place.fronts[-1])) and time.monotonic() < begun + ENOUGH:
            stood.update(dict.fromkeys((kinds[port] for port in left), time.monotonic() - begun))
            work(place, grid, good, seen)
        kept = [one for one in psutil.net_connections("tcp") if one.raddr and one.raddr.ip == THERE]
        for caller in callers:
            caller.socket.close()
    ending = Counter(kinds[one.raddr.port] for one in kept if one.raddr.port in kinds)
    print(  # noqa: T201
        f"\n{len(callers)} callers of a machine that vanished stood, at most: {stood}"
        f"\nof which the system still says farewell to: {ending}"
        f"\na client at work waited, at most: {seen.slowest}, in {seen.rounds} rounds"
    )
    assert left == []
    assert late(stood) == {}
    assert ending["unread answer"] == 0  # what was not sent is thrown away
    assert max(seen.slowest.values()) < 5


def _ports(front: Child) -> list[int]:
    """Return the ports of the far machine that a front is connected with."""
    found = psutil.Process(front.pid).net_connections("tcp")
    return [one.raddr.port for one in found if one.raddr and one.raddr.ip == THERE]


def test_one_member_does_not_take_all_places(place: Place, grid: Any) -> None:
    place.open_front()
    front, other = door(place, grid, 3), place.client(2)
    other.node = place.member(2).node
    with ExitStack() as stack:
        for _ in range(PER_KEY):
            stack.callback(front.promise().socket.close)
        again = place.client(3)
        again.node = place.member(3).node
        assert wait_until(lambda: status_of(again.beat) == 503, 10)
        assert other.beat()


def test_a_copied_public_key_does_not_lock_its_owner_out(place: Place, grid: Any) -> None:
    with far_machine() as far:
        place.open_front(HERE)
        front, owner = door(place, grid, 3), place.client(3)
        owner.node = place.member(3).node
        callers = far.run(lambda: [front.promise() for _ in range(PER_KEY)])
        try:
            assert owner.beat()
        finally:
            for caller in callers:
                caller.socket.close()
