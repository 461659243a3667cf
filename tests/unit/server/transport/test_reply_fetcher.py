"""The outer fence, before Flower's own SuperLink: bad objects, slow ones, forged ones."""

import contextlib
import json
import random
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_id,
)
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsafe.errors import LaunchError
from fedsafe.flower.grids import RUNTIME_CALLS
from fedsafe.messages import REFUSED
from server.client_status import failure
from server.transport import reply_fetcher
from server.transport.client_errors import transient
from server.transport.reply_fetcher import ReplyFetcher
from server.transport.reply_limits import RefusedError, bounds, check_tree
from server.validation import DroppedError, screen
from tests.doubles.grids import Scripted, ScriptedGrid, at_once, empty_reply
from tests.doubles.hostile import HOSTILE, NESTED
from tests.doubles.requests import adapter, content, request
from tests.doubles.superlink import SuperLink, Uplink, superlink

MB = 2**20
Objects = list[bytes]
"""Parts of a message, children first, the message last."""
Forge = Callable[[Objects], Objects]


@pytest.fixture(autouse=True)
def _own_task(flower_task: None) -> Iterator[None]:
    """Put the task of the other tests back."""
    known = TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id
    yield
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = known


class Desk:
    """A server that has asked each node of a SuperLink, and its fence."""

    def __init__(self, nodes: int = 1) -> None:
        self.link: SuperLink = superlink(nodes)
        self.fence = ReplyFetcher(self.link.grid)
        self.requests = [request(adapter(), "float32", one.node) for one in self.link.nodes]
        for message in self.requests:
            message.metadata.ttl = 600
        self.ids = list(self.link.grid.push_messages(self.requests))
        self.questions = [one.questions()[0] for one in self.link.nodes]

    def honest(self, place: int = 0) -> Message:
        """Return an honest answer of a node."""
        update = {name: 0.01 * tensor for name, tensor in adapter(seed=1).items()}
        made = content(self.requests[place], "float32", update)
        return Message(made, reply_to=self.questions[place])

    def node(self, place: int = 0) -> Uplink:
        """Return a node."""
        return self.link.nodes[place]

    def look(self, place: int = 0) -> list[Message]:
        """Look for the answer of a node."""
        asked, looked = self.requests[place], self.fence.look(self.ids)
        node = asked.metadata.dst_node_id
        return self.fence.pull(self.ids[place], node, bounds(asked), looked=looked)


def _objects(message: Message) -> Objects:
    return [one.deflate() for one in get_all_nested_objects(message).values()]


def _object(kind: str, children: list[str], body: bytes) -> bytes:
    return f"{kind} {','.join(children)} {len(body)}".encode() + b"\0" + body


def _exchanged(objects: Objects, place: int, made: bytes) -> Objects:
    """Return objects with one exchanged, and everything that points to it set right."""
    renamed: dict[bytes, bytes] = {}
    found = []
    for index, content_ in enumerate(objects):
        new = made if index == place else content_
        for old, other in renamed.items():
            new = new.replace(old, other)
        renamed[get_object_id(content_).encode()] = get_object_id(new).encode()
        found.append(new)
    return found


def _at(kind: str, forge: Callable[[bytes, Objects], bytes]) -> Forge:
    """Return what forges the first object of a kind."""

    def forged(objects: Objects) -> Objects:
        places = [i for i, one in enumerate(objects) if one.startswith(f"{kind} ".encode())]
        return _exchanged(objects, places[0], forge(objects[places[0]], objects))

    return forged


def _body(change: Callable[[Any], Any]) -> Callable[[bytes, Objects], bytes]:
    """Return what changes an object's body, read as JSON."""

    def forge(old: bytes, objects: Objects) -> bytes:
        del objects
        head, _, body = old.partition(b"\0")
        kind, children, _ = head.decode().split(" ")
        made = change(json.loads(body))
        text = made if isinstance(made, bytes) else json.dumps(made).encode()
        return _object(kind, [c for c in children.split(",") if c], text)

    return forge


def _replacing(kind: str, made: bytes) -> Forge:
    return _at(kind, lambda old, objects: made)


def _twice(body: dict[str, str]) -> bytes:
    """Return JSON that names one array twice, the second time for a part that is not there."""
    ((name, part),) = body.items()
    return f'{{"{name}": "{part}", "{name}": "{"0" * 64}"}}'.encode()


FORGED: dict[str, Forge] = {
    "array that repeats a piece": _at(
        "Array", _body(lambda body: {**body, "arraychunk_ids": [0] * 200_000})
    ),
    "array of pieces that are not there": _at(
        "Array", _body(lambda body: {**body, "arraychunk_ids": [99]})
    ),
    "array whose pieces are words": _at(
        "Array", _body(lambda body: {**body, "arraychunk_ids": ["0"]})
    ),
    "array without a type": _at("Array", _body(lambda body: {**body, "dtype": None})),
    "array of a nested shape": _at("Array", _body(lambda body: {**body, "shape": [[2, 3]]})),
    "array without words": _at("Array", _body(lambda _: b"")),
    "brackets as deep as they go": _at("Array", _body(lambda _: b"[" * 200_000)),
    "words of three megabytes": _at("Array", _body(lambda body: {**body, "x": "y" * 3 * MB})),
    "arrays under no name": _at("ArrayRecord", _body(lambda _: {})),
    "same name twice": _at("ArrayRecord", _body(_twice)),
    "list in place of names": _at("ArrayRecord", _body(list)),
    "metrics that are noise": _replacing("MetricRecord", _object("MetricRecord", [], b"\xff" * 9)),
    "part of an unknown kind": _replacing("MetricRecord", _object("CustomDataClass", [], b"")),
    "piece in place of metrics": _replacing("MetricRecord", _object("ArrayChunk", [], b"abc")),
    "part that is not there": _at(
        "RecordDict", lambda old, _: old.replace(b" ", b" " + b"0" * 64 + b",", 1)
    ),
    "message that is noise": lambda objects: [
        *objects[:-1],
        _object("Message", [get_object_id(objects[-2])], b"\xff" * 40),
    ],
    "message that is empty": lambda objects: [*objects[:-1], _object("Message", [], b"")],
    "records in place of a message": lambda objects: objects[:-1],
    "array in place of a message": lambda objects: [
        *objects[:-1],
        _object("Array", [], b'{"dtype": "", "shape": [], "stype": "", "arraychunk_ids": []}'),
    ],
    "more pieces than expected": lambda objects: [
        *(_object("ArrayChunk", [], b"%d" % number) for number in range(2000)),
        *objects,
    ],
    "more bytes than expected": lambda objects: [
        *(_object("ArrayChunk", [], bytes([number]) * MB) for number in range(3)),
        *objects,
    ],
}


def _array(children: Objects, order: list[int]) -> bytes:
    """Return an array of these pieces, whatever they are, in this order."""
    body = {"dtype": "uint8", "shape": [1], "stype": "numpy.ndarray", "arraychunk_ids": order}
    return _object("Array", [get_object_id(one) for one in children], json.dumps(body).encode())


def _nested(levels: int, times: int) -> Objects:
    """Return a piece, and arrays around it that each repeat the one below."""
    found = [_object("ArrayChunk", [], bytes(1000))]
    for _ in range(levels):
        found.append(_array(found[-1:], [0] * times))
    return found


def _array_of(inner: Objects, times: int = 1) -> Forge:
    """Return what forges an array whose only piece is the last of these objects."""

    def forged(objects: Objects) -> Objects:
        place = next(i for i, one in enumerate(objects) if one.startswith(b"Array "))
        made = _array(inner[-1:], [0] * times)
        return [*inner, *_exchanged(objects, place, made)[place:]]

    return forged


def _with_child(kind: str, inner: Objects) -> Forge:
    """Return what gives the first object of a kind one more child, named where it has names."""

    def forge(old: bytes, objects: Objects) -> bytes:
        del objects
        head, _, body = old.partition(b"\0")
        _, children, _ = head.decode().split(" ")
        child = get_object_id(inner[-1])
        if kind in {"RecordDict", "ArrayRecord"}:
            body = json.dumps({**json.loads(body), "more": child}).encode()
        if kind == "Array":
            said = json.loads(body)
            order = [*said["arraychunk_ids"], len(said["arraychunk_ids"])]
            body = json.dumps({**said, "arraychunk_ids": order}).encode()
        return _object(kind, [*filter(None, children.split(",")), child], body)

    return lambda objects: [*inner, *_at(kind, forge)(objects)]


INTRUDERS: dict[str, Objects] = {
    "piece": [_object("ArrayChunk", [], b"abc")],
    "array": _nested(1, 1),
    "array of arrays": _nested(4, 3),
    "array record": [_object("ArrayRecord", [], b"{}")],
    "metric record": [_object("MetricRecord", [], b"")],
    "settings": [_object("ConfigRecord", [], b"")],
    "record dictionary": [_object("RecordDict", [], b"{}")],
    "message": [_object("Message", [], b"")],
}
PARENTS = ("ArrayChunk", "Array", "ArrayRecord", "MetricRecord", "RecordDict", "Message")
FITTING = {("Array", "piece")}
"""A further piece makes an array longer, which is for the screen to see."""
FORGED |= {
    f"{intruder} in {parent}": _with_child(parent, INTRUDERS[intruder])
    for parent in PARENTS
    for intruder in INTRUDERS
    if (parent, intruder) not in FITTING
}
FORGED |= {
    f"arrays of arrays, {levels} deep": _array_of(_nested(levels, 1000)) for levels in (1, 2, 3, 60)
}
FORGED |= {
    "array that repeats an array": _array_of(_nested(1, 1000), 1000),
    "array that counts its pieces from the end": _at(
        "Array", _body(lambda body: {**body, "arraychunk_ids": [-1]})
    ),
    "array whose pieces are truths": _at(
        "Array", _body(lambda body: {**body, "arraychunk_ids": [False]})
    ),
    "array of a negative shape": _at("Array", _body(lambda body: {**body, "shape": [-5]})),
    "array of ten thousand dimensions": _at(
        "Array", _body(lambda body: {**body, "shape": [1] * 10_000})
    ),
    "array of a shape of five thousand digits": _at(
        "Array", _body(lambda body: json.dumps({**body, "shape": 0}).encode()[:-2] + b"9" * 5000)
    ),
    "array that says more": _at("Array", _body(lambda body: {**body, "more": {}})),
    "half a million names": _at(
        "ArrayRecord", _body(lambda body: dict.fromkeys(map(str, range(10_000)), *body.values()))
    ),
    "metrics of a megabyte": _replacing("MetricRecord", _object("MetricRecord", [], bytes(MB))),
    "same piece under two ids": _at(
        "Array", lambda old, _: old.replace(b" ", b" " + old.split(b" ")[1] + b",", 1)
    ),
    "parts that nothing needs": lambda objects: [*INTRUDERS["array of arrays"], *objects],
}


def _sent(desk: Desk, objects: Objects) -> None:
    node = desk.node()
    metadata = message_to_proto(desk.honest()).metadata
    node.raw(metadata, objects)


@pytest.mark.parametrize("kind", FORGED)
def test_forged_objects_are_refused_with_a_short_printable_reason(kind: str) -> None:
    desk = Desk()
    _sent(desk, FORGED[kind](_objects(desk.honest())))
    (found,) = desk.look()
    reason = found.error.reason
    assert (found.error.code, len(reason) < 200, reason.isprintable()) == (REFUSED, True, True)


@pytest.mark.parametrize("kind", FORGED)
def test_refused_reply_leaves_nothing_behind(kind: str) -> None:
    desk = Desk()
    before = set(desk.link.state.object_store.store)  # type: ignore[attr-defined]
    _sent(desk, FORGED[kind](_objects(desk.honest())))
    desk.look()
    assert set(desk.link.state.object_store.store) <= before  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("array that repeats a piece", "repeat their pieces"),
        ("arrays of arrays, 3 deep", "an object of type Array in place of ArrayChunk"),
        ("array of arrays in ArrayChunk", "ArrayChunk has 1 parts of its own, not none"),
        ("array of arrays in MetricRecord", "MetricRecord has 1 parts of its own, not none"),
    ],
)
def test_array_that_would_take_gigabytes_takes_none(kind: str, reason: str) -> None:
    desk = Desk()
    _sent(desk, FORGED[kind](_objects(desk.honest())))
    tracemalloc.start()
    (found,) = desk.look()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (peak < 8 * MB, reason in found.error.reason) == (True, True)


@pytest.mark.parametrize(
    "made",
    [
        b"MetricRecord  9\0abc",
        b"MetricRecord  -3\0abc",
        b"MetricRecord  " + b"9" * 5000 + b"\0abc",
        b"MetricRecord \0",
        b"  0\0",
        b"x" * 1000,
        b"\xff" * 1000,
        b"",
    ],
)
def test_object_without_a_proper_head_is_refused(made: bytes) -> None:
    """Flower's SuperLink does not take such objects; this does not rely on it."""
    desk = Desk()
    objects = _replacing("MetricRecord", made)(_objects(desk.honest()))
    contents = {get_object_id(one): one for one in objects}
    with pytest.raises(RefusedError):
        check_tree(get_object_id(objects[-1]), contents, bounds(desk.requests[0]))


@pytest.mark.parametrize("length", range(1, 5))
def test_objects_that_contain_each_other_are_refused(length: int) -> None:
    """Ids are hashes of contents; this does not rely on anybody having compared them."""
    desk = Desk()
    chain = [f"{number:064d}" for number in range(length)]
    ring = {
        one: _object("Array", [other], _array([], [0]).partition(b"\0")[2])
        for one, other in zip(chain, [*chain[1:], chain[0]], strict=True)
    }
    objects = {get_object_id(one): one for one in _objects(desk.honest())}
    names = list(objects)
    place = next(i for i, one in enumerate(names) if objects[one].startswith(b"Array "))
    cyclic = dict(objects)
    cyclic[names[place]] = _object("Array", [chain[0]], _array([], [0]).partition(b"\0")[2])
    with pytest.raises(RefusedError, match="type Array in place of ArrayChunk"):
        check_tree(names[-1], {**cyclic, **ring}, bounds(desk.requests[0]))


def test_refused_reply_counts_as_dropped_and_not_as_a_failure_of_the_client() -> None:
    desk = Desk()
    _sent(desk, FORGED["array without words"](_objects(desk.honest())))
    (found,) = desk.look()
    with pytest.raises(DroppedError) as caught:
        screen(found, desk.requests[0], 1e4)
    told = "refused: it cannot be rebuilt (JSONDecodeError)"
    assert (failure(found, caught.value), transient(found.error)) == (("dropped", told), False)


def test_honest_reply_arrives_whole() -> None:
    desk = Desk()
    desk.node().reply(desk.honest())
    (found,) = desk.look()
    update = screen(found, desk.requests[0], 1e4).update
    assert update.tolist() == screen(desk.honest(), desk.requests[0], 1e4).update.tolist()


def test_error_of_a_client_arrives() -> None:
    desk = Desk()
    desk.node().reply(Message(Error(2, "boom"), reply_to=desk.questions[0]))
    (found,) = desk.look()
    assert (found.error.code, found.error.reason) == (2, "boom")


def test_word_of_the_superlink_that_a_node_is_gone_arrives() -> None:
    desk = Desk()
    desk.link.state.deactivate_node(desk.node().node)
    (found,) = desk.look()
    assert found.error.code == ErrorCode.NODE_UNAVAILABLE


def test_nothing_yet_is_nothing() -> None:
    assert Desk().look() == []


@pytest.mark.parametrize("missing", [1, 2, 4, 9])
def test_reply_that_is_still_coming_keeps_nobody_waiting(missing: int) -> None:
    desk = Desk(2)
    desk.node(0).reply(desk.honest(0), missing)
    desk.node(1).reply(desk.honest(1))
    assert (desk.look(0), len(desk.look(1))) == ([], 1)


@pytest.mark.parametrize("missing", [1, 2, 4, 9])
def test_reply_that_was_still_coming_arrives_once_it_is_there(missing: int) -> None:
    desk = Desk()
    later = desk.node().reply(desk.honest(), missing)
    looks = [desk.look(), desk.look()]
    later()
    (found,) = desk.look()
    assert (looks, screen(found, desk.requests[0], 1e4).examples) == ([[], []], 7)


def test_reply_that_is_still_coming_is_not_held_in_memory() -> None:
    desk = Desk()
    desk.node().reply(desk.honest(), 1)
    desk.look()
    (coming,) = desk.fence._coming.values()
    assert not any(isinstance(value, bytes | dict) for value in vars(coming).values())


def test_reply_that_never_comes_is_forgotten_by_the_superlink_too() -> None:
    desk = Desk()
    store = desk.link.state.object_store.store  # type: ignore[attr-defined]
    before = set(store)
    desk.node().reply(desk.honest(), 1)
    desk.look()
    desk.fence.forget(desk.ids[0])
    assert set(store) <= before


def test_reply_whose_sender_was_cut_off_is_lost_and_not_refused() -> None:
    desk = Desk()
    desk.node().reply(desk.honest(), 1)
    assert desk.look() == []
    for session in desk.link.state._object_push_sessions.values():
        session.expires_at -= timedelta(hours=1)
    (found,) = desk.look()
    assert found.error.code == ErrorCode.MESSAGE_UNAVAILABLE


def test_error_of_four_megabytes_is_refused() -> None:
    desk = Desk()
    desk.node().reply(Message(Error(2, "x" * 4 * MB), reply_to=desk.questions[0]))
    (found,) = desk.look()
    assert found.error.code == REFUSED


@pytest.mark.parametrize("kind", ["array of 16 MB", "twenty thousand tiny arrays"])
def test_reply_beyond_its_bounds_is_refused(kind: str) -> None:
    desk = Desk()
    made = HOSTILE[kind](desk.honest().content, random.Random(0))
    desk.node().reply(Message(made, reply_to=desk.questions[0]))
    (found,) = desk.look()
    assert found.error.code == REFUSED


def test_reply_that_names_another_question_inside_is_refused() -> None:
    desk = Desk(2)
    other = desk.honest(0)
    other.metadata.__dict__["_reply_to_message_id"] = desk.ids[1]
    desk.node(0).raw(message_to_proto(desk.honest(0)).metadata, _objects(other))
    (found,) = desk.look(0)
    assert "another reply_to_message_id inside" in found.error.reason


def test_reply_that_names_another_sender_inside_is_refused() -> None:
    desk = Desk(2)
    other = desk.honest(0)
    other.metadata.__dict__["_src_node_id"] = desk.node(1).node
    desk.node(0).raw(message_to_proto(desk.honest(0)).metadata, _objects(other))
    (found,) = desk.look(0)
    assert "another src_node_id inside" in found.error.reason


def test_reply_of_a_node_that_was_not_asked_is_not_taken() -> None:
    desk = Desk(2)
    forged = desk.honest(0)
    forged.metadata.__dict__["_src_node_id"] = desk.node(1).node
    desk.node(1).reply(forged)
    assert desk.look(0) == []


def test_second_reply_is_not_taken() -> None:
    desk = Desk()
    desk.node().reply(desk.honest())
    second = desk.honest()
    second.content["metrics"]["num-examples"] = 8
    desk.node().reply(second)
    (found,) = desk.look()
    assert found.content["metrics"]["num-examples"] == 7


def test_reply_that_was_taken_is_not_taken_again() -> None:
    desk = Desk()
    reply = desk.honest()
    desk.node().reply(reply)
    desk.look()
    desk.node().reply(reply)
    (found,) = desk.look()
    assert found.error.code == ErrorCode.MESSAGE_UNAVAILABLE


def test_all_replies_are_asked_for_at_once() -> None:
    desk = Desk(3)
    for place in (0, 2):
        desk.node(place).reply(desk.honest(place))
    desk.link.runtime.calls.clear()
    found = [len(desk.look(place)) for place in range(3)]
    assert found == [1, 0, 1]
    assert desk.link.runtime.calls.count("PullMessages") == 3  # one a look


def test_what_the_guard_refused_is_a_refusal_with_its_reason() -> None:
    desk = Desk()
    honest = desk.link.runtime.PullMessages

    def guarded(request: Any) -> Any:
        answer = honest(request)
        (question,) = request.message_ids
        metadata = {"reply_to_message_id": question, "src_node_id": 1}
        answer.messages_list.add(
            metadata=metadata, error={"code": REFUSED, "reason": "a reply of more bytes"}
        )
        answer.message_object_trees.add()
        return answer

    desk.link.runtime.__dict__["PullMessages"] = guarded
    (found,) = desk.look()
    assert (found.error.code, found.error.reason) == (REFUSED, "refused: a reply of more bytes")
    assert failure(found, DroppedError("why"))[0] == "dropped"


def test_a_client_cannot_speak_as_the_guard() -> None:
    desk = Desk()
    desk.node().reply(Message(Error(REFUSED, "mine"), reply_to=desk.questions[0]))
    (found,) = desk.look()
    assert (found.error.code, found.error.reason) == (
        ErrorCode.CLIENT_APP_RAISED_EXCEPTION,
        "mine",
    )
    assert failure(found, DroppedError("why"))[0] == "failed"


def test_grids_of_this_process_are_asked_as_they_are() -> None:
    asked = request(adapter(), "float32")
    grid = ScriptedGrid([asked.metadata.dst_node_id], empty_reply, at_once)
    (identity,) = grid.push_messages([asked])
    (found,) = ReplyFetcher(grid).pull(identity, asked.metadata.dst_node_id, bounds(asked))
    assert found.metadata.reply_to_message_id == identity


def test_a_grid_of_no_known_kind_is_not_asked_without_bounds() -> None:
    class Other(Scripted):
        pass

    with pytest.raises(LaunchError, match=r"does not know the grid .*Other.*flwr>=1\.41"):
        ReplyFetcher(Other([], empty_reply, at_once))


def test_a_network_grid_without_its_client_is_not_asked_without_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grid = superlink(1).grid
    monkeypatch.delattr(type(grid), "_runtime_client")
    with pytest.raises(LaunchError, match=r"lacks flwr.*HttpGrid\._runtime_client"):
        ReplyFetcher(grid)


def test_a_client_that_is_gone_later_is_not_blamed_on_a_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    desk.node().reply(desk.honest())
    monkeypatch.delattr(type(desk.link.grid), "_runtime_client")
    with pytest.raises(LaunchError, match="_runtime_client"):
        desk.look()
    with pytest.raises(LaunchError, match="_runtime_client"):
        desk.fence.pull(desk.ids[0], desk.node().node, bounds(desk.requests[0]))


@pytest.mark.parametrize("call", RUNTIME_CALLS)
def test_a_renamed_call_of_the_client_is_not_blamed_on_a_node(call: str) -> None:
    desk = Desk()
    desk.node().reply(desk.honest())

    class Renamed:
        def __getattr__(self, name: str) -> object:
            if name == call:
                raise AttributeError(name)
            return getattr(desk.link.runtime, name)

    desk.link.grid._client = Renamed()  # type: ignore[assignment]
    with pytest.raises(LaunchError, match=call):
        desk.look()


def test_bounds_hold_the_largest_honest_reply() -> None:
    """int8 has two arrays a tensor; the names of a 7B model's adapter are long."""
    names = {f"base_model.model.layers.{n}.mlp.down_proj.lora_A.weight": n for n in range(448)}
    record = {name: Array("float32", (1,), "numpy.ndarray", b"1234") for name in names}
    asked = request(adapter(), "float32")
    asked.content["arrays"] = ArrayRecord(record)
    scales = {f"{name}/scale": array for name, array in record.items()}
    made = RecordDict({"arrays": ArrayRecord(record | scales), "metrics": MetricRecord({"n": 1})})
    objects = get_all_nested_objects(Message(made, reply_to=asked))
    largest = max(len(one.deflate()) for one in objects.values())
    limit = bounds(asked)
    assert (largest <= limit.words, len(objects) <= limit.parts) == (True, True)


@settings(max_examples=150)
@given(
    part=st.integers(0, 10**6),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), min_size=1, max_size=4),
)
def test_flipped_bits_anywhere_end_in_a_message(part: int, flips: list[tuple[int, int]]) -> None:
    desk = Desk()
    objects = _objects(desk.honest())
    place = part % len(objects)
    raw = bytearray(objects[place])
    for position, bit in flips:
        raw[position % len(raw)] ^= 1 << bit
    _sent(desk, _exchanged(objects, place, bytes(raw)))
    for found in desk.look():
        with contextlib.suppress(DroppedError):
            screen(found, desk.requests[0], 1e4)


def test_names_that_run_deep_are_refused() -> None:
    """The SuperLink joins what was announced in pieces; Flower's parser ends at depth 100."""
    desk = Desk()
    node = desk.node()
    metadata = message_to_proto(desk.honest()).metadata
    objects = _objects(desk.honest())
    below = ObjectTree(object_id=get_object_id(objects[0]))
    for level in range(90):
        part = get_object_id(b"%d" % level)
        below = ObjectTree(object_id=part, children=[below])
    root = ObjectTree(object_id=get_object_id(objects[-1]), children=[below])
    node.raw(metadata, objects, root)
    assert all(found.has_error() for found in desk.look())


def test_reply_whose_rebuilding_takes_too_much_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the tree does not show: the process stays alive, and the client is named."""
    monkeypatch.setattr(reply_fetcher, "inflate_object_from_contents", lambda *_: bytearray(2**31))
    desk = Desk()
    desk.node().reply(desk.honest())
    (found,) = desk.look()
    assert (found.error.code, "MiB it may take" in found.error.reason) == (REFUSED, True)


def test_whose_reply_is_rebuilt_is_written_down_before(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    told: list[str] = []
    desk.fence.before = told.append
    seen: list[list[str]] = []
    monkeypatch.setattr(reply_fetcher, "check_tree", lambda *_: seen.append(list(told)))
    later = desk.node().reply(desk.honest(), 1)
    desk.look()
    before = list(told)
    later()
    desk.look()
    assert (before, seen) == ([], [desk.ids])


@pytest.mark.parametrize("kind", NESTED)
def test_nested_reply_as_a_client_sends_it_is_refused_at_no_cost(kind: str) -> None:
    """Announced as the tree that it is, in its own order, by the client's own Flower."""
    desk = Desk()
    made = NESTED[kind](desk.honest().content, random.Random(0))
    desk.node().reply(Message(made, reply_to=desk.questions[0]))
    tracemalloc.start()
    (found,) = desk.look()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found.error.code, peak < 16 * MB) == (REFUSED, True)
