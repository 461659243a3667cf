"""Many arrays as one, and back."""

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsafe.errors import ModelError
from fedsafe.models.packing import pack, size, unpack

KINDS = ("float32", "uint16", "int8")


def packed(arrays: dict) -> np.ndarray:
    """Return what the other side reads."""
    return np.load(io.BytesIO(pack(arrays)["data"]))


LAYOUTS = st.dictionaries(
    st.text(min_size=1, max_size=5),
    st.tuples(st.sampled_from(KINDS), st.lists(st.integers(0, 4), max_size=3).map(tuple)),
    max_size=6,
)


@given(LAYOUTS, st.integers(0, 2**32 - 1))
def test_what_was_packed_comes_back(layout: dict, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = {
        name: np.asarray(rng.integers(0, 100, shape)).astype(kind)
        for name, (kind, shape) in layout.items()
    }
    parcel = packed(arrays)
    found = unpack(parcel, layout)
    assert (parcel.dtype, parcel.shape) == (np.uint8, (size(layout),))
    assert list(found) == list(arrays)
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())
    assert all(found[name].dtype == array.dtype for name, array in arrays.items())


def test_each_array_is_aligned() -> None:
    arrays = {"a": np.ones(3, np.int8), "b": np.ones(3, np.uint16), "c": np.ones(3, np.float32)}
    layout = {name: (str(array.dtype), array.shape) for name, array in arrays.items()}
    parcel = packed(arrays)
    found = unpack(parcel, layout)
    base = parcel.__array_interface__["data"][0]
    places = {name: one.__array_interface__["data"][0] - base for name, one in found.items()}
    assert places == {"c": 0, "b": 12, "a": 18}


def test_nothing_is_copied_when_it_is_unpacked() -> None:
    parcel = packed({"a": np.zeros(4, np.float32)})
    unpack(parcel, {"a": ("float32", (4,))})["a"][:] = 7
    assert parcel.view(np.float32).tolist() == [7.0] * 4


def test_arrays_that_do_not_lie_in_order_are_packed_as_they_read() -> None:
    columns = np.arange(6, dtype=np.float32).reshape(2, 3).T
    found = unpack(packed({"a": columns}), {"a": ("float32", (3, 2))})
    assert np.array_equal(found["a"], columns)


@pytest.mark.parametrize("shape", [(0, 10**30), (1,) * 100, (0, 2**62, 4)])
def test_a_shape_that_no_array_can_have_is_a_sentence(shape: tuple[int, ...]) -> None:
    parcel = np.zeros(0 if 0 in shape else 4, np.uint8)
    with pytest.raises(ModelError, match="shapes that no array can have"):
        unpack(parcel, {"a": ("float32", shape)})


@pytest.mark.parametrize(
    "parcel",
    [
        np.zeros(15, np.uint8),
        np.zeros(17, np.uint8),
        np.zeros(16, np.int8),
        np.zeros(4, np.float32),
        np.zeros((1, 16), np.uint8),
        np.array(b"x" * 16),
    ],
    ids=["short", "long", "signed", "float32", "two dimensions", "text"],
)
def test_another_size_or_type_is_a_sentence(parcel: np.ndarray) -> None:
    with pytest.raises(ModelError, match=r"1 tensors take uint8 \(16,\)"):
        unpack(parcel, {"a": ("float32", (2, 2))})


def test_packing_takes_the_memory_of_its_result_and_no_more() -> None:
    arrays = {f"t{n}": np.zeros((64, 4096), np.float32) for n in range(16)}
    tracemalloc.start()
    made = pack(arrays)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.05 * len(made["data"])


def test_what_is_said_of_the_array_is_so() -> None:
    made = pack({"a": np.ones(3, np.float32)})
    found = np.load(io.BytesIO(made["data"]))
    assert (str(found.dtype), found.shape) == (made["dtype"], made["shape"])
