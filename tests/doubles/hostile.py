"""Bad replies by name: each function makes one out of a good reply's content.

They spoil replies of any wire format, and need neither torch nor pytest, so that a real
client process can send them. `HOSTILE` must be dropped, and `SCALED` where the format has
scales; `NESTED` must be refused by whoever rebuilds a reply from its parts, before it is
rebuilt; `ODD` is used like the reply it was made of, and what is odd about it goes on no
record; `ERRORS` are texts to fail with.
"""

import io
import json
import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.app.message.arraychunk import ArrayChunk
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    add_header_to_object_body,
)

Spoiler = Callable[[RecordDict, random.Random], RecordDict]
Change = Callable[["np.ndarray[Any, Any]"], Any]

HOSTILE: dict[str, Spoiler] = {}
SCALED: dict[str, Spoiler] = {}
NESTED: dict[str, Spoiler] = {}
ODD: dict[str, Spoiler] = {}
ARRAYS, METRICS, ADAPTER = "arrays", "metrics", "adapter"
MANY = 20_000
HUGE = 2**24
ERRORS = {
    "terminal escapes": "\x1b[2J\x1b]0;owned\x07\x1b[31mall is well\x1b[0m",
    "megabytes": "x" * 4_000_000,
    "forged lines": "no\nround 3: 10 of 10 replies\r\nFedSafe: run completed",
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "other direction": "\u202egnihtyreve si llew\u2066",
    "null bytes": "\x00" * 100,
    "nothing": "",
}


def parts(content: RecordDict) -> dict[str, Array]:
    """Return the arrays of a good reply, by name."""
    record = content[ARRAYS]
    assert isinstance(record, ArrayRecord)
    return dict(record.items())


def replaced(content: RecordDict, arrays: dict[str, Array]) -> RecordDict:
    """Return a reply with these arrays, and everything else as it was."""
    return RecordDict({**content, ARRAYS: ArrayRecord(arrays)})


def changed(change: Change) -> Spoiler:
    """Return a spoiler that changes the array: to another one, or to bytes."""

    def spoil(content: RecordDict, rng: random.Random) -> RecordDict:
        del rng
        old = parts(content)[ADAPTER]
        made = change(old.numpy())
        return replaced(
            content,
            {
                ADAPTER: Array(old.dtype, old.shape, old.stype, made)
                if isinstance(made, bytes)
                else Array(np.asarray(made))
            },
        )

    return spoil


def valued(value: float) -> Spoiler:
    """Return a spoiler that writes this float32 all over the adapter.

    Read as bfloat16 every second number is it, near enough; read as int8 every scale is.
    """

    def change(old: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        pattern = np.frombuffer(np.float32(value).tobytes(), np.uint8)
        return np.resize(pattern, old.size)

    return changed(change)


def rescaled(value: float) -> Spoiler:
    """Return a spoiler that makes this of the first scale; they come before all else."""

    def change(old: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        made = old.copy()
        made[:4] = np.frombuffer(np.float32(value).tobytes(), np.uint8)
        return made

    return changed(change)


def recounted(*values: Any, key: str = "num-examples") -> Spoiler:
    """Return a spoiler that reports this metric, or leaves it out."""

    def spoil(content: RecordDict, rng: random.Random) -> RecordDict:
        del rng
        metrics: dict[str, Any] = dict(content[METRICS].items())
        metrics.pop(key, None)
        if values:
            metrics[key] = values[0]
        return RecordDict({**content, METRICS: MetricRecord(metrics)})

    return spoil


def npy(value: Any, version: tuple[int, int] | None = None) -> bytes:
    """Return an array as .npy bytes, pickled where it must be."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(value), version)
    return file.getvalue()


def headed(header: str) -> Change:
    """Return a change that puts this header before the array's own bytes.

    ``SHAPE`` and ``DTYPE`` in it stand for those of the array.
    """

    def change(old: "np.ndarray[Any, Any]") -> bytes:
        text = header.replace("SHAPE", str(old.shape)).replace("DTYPE", old.dtype.str)
        encoded = text.encode("latin1")
        return b"\x93NUMPY\x01\x00" + len(encoded).to_bytes(2, "little") + encoded + old.tobytes()

    return change


def _named(name: str, *, instead: bool) -> Spoiler:
    def spoil(content: RecordDict, rng: random.Random) -> RecordDict:
        arrays = parts(content)
        old = rng.choice(list(arrays))
        arrays[name.replace("NAME", old)] = arrays.pop(old) if instead else arrays[old]
        return replaced(content, arrays)

    return spoil


def _records(**records: Any) -> Spoiler:
    """Return a spoiler that sends these records and the good ones that are not None here."""

    def spoil(content: RecordDict, rng: random.Random) -> RecordDict:
        del rng
        kept = {**content, **records}
        return RecordDict({name: record for name, record in kept.items() if record is not None})

    return spoil


def _many_arrays(content: RecordDict, rng: random.Random) -> RecordDict:
    del rng
    tiny = Array(np.zeros(1, np.float32))
    return replaced(content, parts(content) | {f"t{n}": tiny for n in range(MANY)})


def _many_metrics(content: RecordDict, rng: random.Random) -> RecordDict:
    del rng
    metrics: dict[str, Any] = {**content[METRICS], **{f"m{n}": float(n) for n in range(MANY)}}
    return RecordDict({**content, METRICS: MetricRecord(metrics)})


def _by_tensor(content: RecordDict, rng: random.Random) -> RecordDict:
    """Send an array a tensor, as Flower's own clients do."""
    del rng
    values = np.zeros(8, np.float32)
    return replaced(content, {"q.lora_A.weight": Array(values), "q.lora_B.weight": Array(values)})


def _declared(**lies: Any) -> Spoiler:
    def spoil(content: RecordDict, rng: random.Random) -> RecordDict:
        arrays = parts(content)
        name = rng.choice(list(arrays))
        old = arrays[name]
        said: dict[str, Any] = {"dtype": old.dtype, "shape": old.shape, "stype": old.stype, **lies}
        return replaced(content, arrays | {name: Array(data=old.data, **said)})

    return spoil


HEADER = "{'descr': 'DTYPE', 'fortran_order': False, 'shape': SHAPE, }"
HOSTILE |= {
    "no records": _records(arrays=None, metrics=None),
    "no array record": _records(arrays=None),
    "array record of another name": _records(arrays=None, model=ArrayRecord({})),
    "settings in place of arrays": _records(arrays=ConfigRecord({"a": 1})),
    "metrics in place of arrays": _records(arrays=MetricRecord({"a": 1})),
    "one more array record": _records(more=ArrayRecord({"a": Array(np.zeros(9))})),
    "one more settings record": _records(config=ConfigRecord({"server-round": 99})),
    "no arrays": lambda content, _: replaced(content, {}),
    "array too many": _named("another", instead=False),
    "array renamed": _named("another", instead=True),
    "an array a tensor": _by_tensor,
    "path for a name": _named("../../../etc/passwd", instead=True),
    "absolute path for a name": _named("/tmp/NAME", instead=False),
    "same name but for a blank": _named("NAME ", instead=False),
    "same name in look-alike letters": _named("NAM\u0415", instead=True),
    "name of terminal escapes": _named("\x1b[2JNAME", instead=False),
    "name of a megabyte": _named("n" * 2**20, instead=False),
    "empty name": _named("", instead=True),
    "twenty thousand tiny arrays": _many_arrays,
    "numbers of twice the size": changed(lambda old: np.repeat(old, 2)),
    "numbers of half the size": changed(lambda old: old[::2].copy()),
    "two dimensions": changed(lambda old: old.reshape(2, -1)),
    "one dimension more": changed(lambda old: old[None]),
    "shape that broadcasts": changed(lambda old: old.ravel()[:1]),
    "scalar": changed(lambda old: old.ravel()[0]),
    "empty array": changed(lambda old: old[:0]),
    "one byte less": changed(lambda old: old[:-1].copy()),
    "float32": changed(lambda old: old.view(np.float32) if old.size % 4 == 0 else old[:-1]),
    "float64": changed(lambda old: old.astype(np.float64)),
    "float16": changed(lambda old: old.astype(np.float16)),
    "int64": changed(lambda old: old.astype(np.int64)),
    "signed bytes": changed(lambda old: old.view(np.int8)),
    "truths": changed(lambda old: old.astype(bool)),
    "complex numbers": changed(lambda old: old.astype(np.complex64)),
    "text": changed(lambda old: np.full(old.shape, "0")),
    "big endian": changed(lambda old: old.astype(">f4")),
    "columns first": changed(lambda old: npy(np.asfortranarray(old.reshape(2, -1)))),
    "pickled objects": changed(lambda old: npy(np.array([{}] * old.size, object))),
    "structure": changed(lambda old: npy(np.zeros(old.shape, [("x", "f4")]))),
    "pickle": changed(pickle.dumps),
    "no bytes": changed(lambda _: b""),
    "noise": changed(lambda old: bytes(n * 37 % 256 for n in range(old.nbytes + 128))),
    "zip archive": changed(lambda old: b"PK\x03\x04" + npy(old)),
    "magic alone": changed(lambda _: b"\x93NUMPY\x01\x00"),
    "other version of the format": changed(lambda old: npy(old, (2, 0))),
    "unknown version of the format": changed(
        lambda old: npy(old).replace(b"NUMPY\x01", b"NUMPY\x09")
    ),
    "body cut short": changed(lambda old: npy(old)[:-1]),
    "body one byte too long": changed(lambda old: npy(old) + b"\0"),
    "half a body": changed(lambda old: npy(old)[: 128 + old.nbytes // 2]),
    "body of 16 MB": changed(lambda old: npy(old) + bytes(HUGE)),
    "array of 16 MB": changed(lambda old: np.zeros(HUGE, np.uint8)),
    "header beyond the end": changed(lambda _: b"\x93NUMPY\x01\x00\xff\xff{}"),
    "header of sixty kilobytes": changed(headed(HEADER + " " * 60_000)),
    "header that says too much": changed(headed(HEADER.replace("SHAPE", "(1099511627776, 3)"))),
    "header that says too little": changed(headed(HEADER.replace("SHAPE", "(1, 1)"))),
    "header with a negative shape": changed(headed(HEADER.replace("SHAPE", "(-2, -3)"))),
    "header with a power": changed(headed(HEADER.replace("SHAPE", "(9**9**9, 3)"))),
    "header of another type": changed(headed(HEADER.replace("DTYPE", "<f8"))),
    "header of an unknown type": changed(headed(HEADER.replace("DTYPE", "<q99"))),
    "header that asks for pickle": changed(headed(HEADER.replace("DTYPE", "|O"))),
    "header with a call": changed(headed("__import__('os').system('touch /tmp/x')")),
    "header of deep brackets": changed(headed("(" * 1500 + ")" * 1500)),
    "header with a null": changed(headed("{\x00}")),
    "header with one more key": changed(headed(HEADER.replace("}", "'x': 1}"))),
    "declared of another type": _declared(dtype="float64"),
    "declared of another shape": _declared(shape=(2**40,)),
    "declared of another kind": _declared(stype="torch.Tensor"),
    "not a number": valued(float("nan")),
    "infinity": valued(float("inf")),
    "minus infinity": valued(float("-inf")),
    "1e30": valued(1e30),
    "absurd length": valued(1e6),
    "no metric record": _records(metrics=None),
    "settings in place of metrics": _records(metrics=ConfigRecord({"num-examples": "7"})),
    "arrays in place of metrics": _records(metrics=ArrayRecord({})),
    "twenty thousand metrics": _many_metrics,
    "no count": recounted(),
    "count of zero": recounted(0),
    "negative count": recounted(-899),
    "huge count": recounted(10**12),
    "count of one and a half": recounted(1.5),
    "infinite count": recounted(float("inf")),
    "count that is not a number": recounted(float("nan")),
    "list of counts": recounted([7, 8]),
    "empty list of counts": recounted([]),
}
SCALED |= {
    "negative scale": rescaled(-1.0),
    "scale that is not a number": rescaled(float("nan")),
    "scale that is infinite": rescaled(float("inf")),
    "scale of 1e38": rescaled(1e38),
}
ODD |= {
    "loss that is not a number": recounted(float("nan"), key="loss"),
    "infinite loss": recounted(float("inf"), key="loss"),
    "loss of 1e300": recounted(1e300, key="loss"),
    "list of losses": recounted([0.1, 0.2], key="loss"),
    "unknown metric": recounted(1.0, key="\x1b[2Jaccuracy"),
    "negative seconds": recounted(-5.0, key="seconds"),
}
ABSURD = {
    f"{name} of {value}": (name, recounted(value, key=name))
    for name in (
        "loss", "skipped", "truncated", "tokens", "padded-tokens", "peak-bytes", "seconds",
        "train-seconds", "load-seconds",
    )
    for value in (-9.9e14, -1, 1e15, 10**15, 1e300, float("nan"), float("inf"), float("-inf"))
}  # fmt: skip
"""Claim by name, and what makes a reply claim it: out of every plausible range."""
ODD |= {kind: spoiler for kind, (_, spoiler) in ABSURD.items()}


class _Forged:
    """An object of Flower's with these parts of its own, whatever they are."""

    inside: list[InflatableObject]
    body: bytes

    @property
    def children(self) -> dict[str, InflatableObject]:
        """Its parts."""
        return {one.object_id: one for one in self.inside}

    @property
    def object_id(self) -> str:
        """Its id, as Flower makes it."""
        found: str = InflatableObject.object_id.fget(self)  # type: ignore[attr-defined]
        return found

    @property
    def is_dirty(self) -> bool:
        """So that its id is made anew."""
        return True

    def deflate(self) -> bytes:
        """Return its bytes, under the name of the class that it passes for."""
        return add_header_to_object_body(self.body, self)  # type: ignore[arg-type]


def forged(kind: type, body: bytes, inside: list[Any]) -> Any:
    """Return an object that passes for one of a class, with these bytes and parts."""
    made = object.__new__(type(kind.__name__, (_Forged, kind), {}))
    made.inside, made.body = inside, body
    made.__dict__.update(_data={}, dtype="uint8", shape=(1,), stype="numpy.ndarray", data=b"")
    return made


def array_around(inner: Any, times: int) -> Any:
    """Return an array that repeats its one part so many times, whatever that is."""
    said = {"dtype": "uint8", "shape": [1], "stype": "numpy.ndarray", "arraychunk_ids": [0] * times}
    return forged(Array, json.dumps(said).encode(), [inner])


def bomb(levels: int, times: int) -> Any:
    """Return arrays of arrays around a kilobyte; each level multiplies the size below it."""
    made: Any = forged(ArrayChunk, bytes(1000), [])
    for _ in range(levels):
        made = array_around(made, times)
    return made


def _with_array(content: RecordDict, array: Any) -> RecordDict:
    """Return a reply with this in place of its array; Flower's record would make an Array of it."""
    made = replaced(content, parts(content))
    record = made[ARRAYS]
    assert isinstance(record, ArrayRecord)
    record._data[ADAPTER] = array
    return made


def _bombed(levels: int, times: int) -> Spoiler:
    def spoil(content: RecordDict, rng: random.Random) -> RecordDict:
        del rng
        return _with_array(content, bomb(levels, times))

    return spoil


def _hidden(kind: type, name: str) -> Spoiler:
    """Return a spoiler that hides arrays of arrays in an object that has no parts."""

    def spoil(content: RecordDict, rng: random.Random) -> RecordDict:
        del rng
        made = forged(kind, b"", [bomb(3, 1000)])
        if kind is ArrayChunk:
            return _with_array(content, array_around(made, 1))
        return RecordDict({**content, name: made})

    return spoil


NESTED |= {
    **{f"arrays of arrays, {levels} deep": _bombed(levels, 1000) for levels in (2, 3, 4)},
    "arrays of arrays in a piece": _hidden(ArrayChunk, ""),
    "arrays of arrays in the metrics": _hidden(MetricRecord, METRICS),
    "arrays of arrays in settings": _hidden(ConfigRecord, METRICS),
    "array that repeats a piece a million times": _bombed(1, 300_000),
}
