"""Frames between asker and trainer: whole, or refused with a sentence."""

import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.worker import protocol
from clients.worker.protocol import Header
from clients.worker.result import Arrays
from clients.worker.shared_memory import share, views
from fedsafe.errors import RunError

ASK = Header(kind="ask")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with one, other:
        for end in (one, other):
            end.settimeout(5.0)
        yield one, other


Pair = tuple[socket.socket, socket.socket]


def _through(pair: Pair, arrays: Arrays) -> Arrays:
    protocol.send(pair[0], ASK, arrays)
    return protocol.receive(pair[1])[1]


def _said(pair: Pair, **fields: Any) -> None:
    body = json.dumps({"version": protocol.VERSION, "kind": "ask", **fields}).encode()
    pair[0].sendall(struct.pack("!I", len(body)) + body)


@pytest.mark.parametrize("dtype", ["float32", "uint16", "int8", "float64", "bool", ">f4"])
def test_arrays_arrive_as_they_were(dtype: str, pair: Pair) -> None:
    sent = {"a": np.arange(6).reshape(2, 3).astype(dtype), "b": np.ones(5, dtype)}
    found = _through(pair, sent)
    assert [(n, a.dtype, a.shape, a.tobytes()) for n, a in found.items()] == [
        (n, a.dtype, a.shape, a.tobytes()) for n, a in sent.items()
    ]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 1, 1)])
def test_shapes_arrive_as_they_were(shape: tuple[int, ...], pair: Pair) -> None:
    assert _through(pair, {"a": np.zeros(shape, np.float32)})["a"].shape == shape


def test_array_that_lies_strewn_arrives_in_order(pair: Pair) -> None:
    strewn = np.arange(12, dtype=np.float32).reshape(3, 4).T
    assert np.array_equal(_through(pair, {"a": strewn})["a"], strewn)


def test_no_arrays_are_not_nothing(pair: Pair) -> None:
    protocol.send(pair[0], ASK, {})
    assert protocol.receive(pair[1])[0].places == ()


def test_what_arrived_cannot_be_changed(pair: Pair) -> None:
    found = _through(pair, {"a": np.ones(3, np.float32)})
    assert not found["a"].flags.writeable


def test_array_of_objects_does_not_travel(pair: Pair) -> None:
    with pytest.raises(RunError, match="adapters are of numbers"):
        _through(pair, {"a": np.array([None])})


def test_metrics_keep_their_types(pair: Pair) -> None:
    protocol.send(pair[0], Header(kind="done", metrics={"n": 3, "loss": 1.0, "x": 0.1 + 0.2}))
    found = protocol.receive(pair[1])[0].metrics
    assert {name: (type(v), v) for name, v in found.items()} == {
        "n": (int, 3),
        "loss": (float, 1.0),
        "x": (float, 0.1 + 0.2),
    }


def test_frames_come_one_after_another(pair: Pair) -> None:
    for step in (1, 2):
        protocol.send(pair[0], Header(kind="alive", step=step), {"a": np.full(2, step)})
    found = [protocol.receive(pair[1]) for _ in range(2)]
    assert [(h.step, int(a["a"][0])) for h, a in found] == [(1, 1), (2, 2)]


def test_no_descriptor_is_left_open(pair: Pair) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    _through(pair, {"a": np.ones(3, np.float32)})
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_one_who_hangs_up_is_told_from_garbage(pair: Pair) -> None:
    pair[0].close()
    with pytest.raises(EOFError):
        protocol.receive(pair[1])


def test_frame_that_is_cut_short_is_a_hang_up(pair: Pair) -> None:
    pair[0].sendall(struct.pack("!I", 100) + b"{")
    pair[0].close()
    with pytest.raises(EOFError):
        protocol.receive(pair[1])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"GET / HTTP/1.1\r\n", "1195725856 bytes are announced"),
        (struct.pack("!I", 4) + b"\xff\xfe{}", "no message of FedSafe"),
        (struct.pack("!I", 4) + b"null", "no message of FedSafe"),
        (struct.pack("!I", 2) + b"{}", "no message of FedSafe"),
        (struct.pack("!I", 9000) + b"[" * 9000, "no message of FedSafe"),
    ],
    ids=["http", "not utf-8", "null", "no version", "deep"],
)
def test_garbage_is_a_sentence(content: bytes, told: str, pair: Pair) -> None:
    pair[0].sendall(content)
    with pytest.raises(RunError, match=told):
        protocol.receive(pair[1])


@pytest.mark.parametrize(
    "fields",
    [{"kind": "dance"}, {"steps": 3}, {"step": -1}, {"metrics": {"a": [1]}}, {"job": 7}],
    ids=str,
)
def test_unknown_header_is_a_sentence(fields: dict[str, Any], pair: Pair) -> None:
    _said(pair, **fields)
    with pytest.raises(RunError, match=f"no message of FedSafe \\({next(iter(fields))}"):
        protocol.receive(pair[1])


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_other_version_is_refused_before_anything_else(version: object, pair: Pair) -> None:
    _said(pair, version=version, news=True)
    with pytest.raises(RunError, match=r"speaks version .* this one speaks 1. Restart"):
        protocol.receive(pair[1])


def test_arrays_without_memory_are_a_sentence(pair: Pair) -> None:
    _said(pair, places=[{"name": "a", "dtype": "<f4", "shape": [1], "offset": 0}])
    with pytest.raises(RunError, match="no memory with them"):
        protocol.receive(pair[1])


def _place(**values: Any) -> Any:
    place = {"name": "a", "dtype": "<f4", "shape": (4,), "offset": 0, **values}
    return protocol.ArrayLayout.model_validate(place)


@pytest.mark.parametrize(
    "values",
    [
        {"shape": (17,)},
        {"offset": 60},
        {"offset": 2**70},
        {"shape": (2**40, 2**40)},
        {"dtype": "<f8", "shape": (9,)},
    ],
    ids=str,
)
def test_array_beyond_the_memory_is_a_sentence(values: dict[str, Any]) -> None:
    _, file = share({"a": np.ones(16, np.float32)})
    try:
        with pytest.raises(RunError, match="is unusable"):
            views(file, [_place(**values)])
    finally:
        os.close(file)


def test_memory_that_can_still_change_is_refused() -> None:
    file = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(file, 64)
        with pytest.raises(RunError, match="is not sealed"):
            views(file, [_place()])
    finally:
        os.close(file)


def test_ordinary_file_is_refused(tmp_path: Path) -> None:
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        os.ftruncate(file, 64)
        with pytest.raises(RunError, match="is unusable"):
            views(file, [_place()])
    finally:
        os.close(file)
