"""Pack an adapter's arrays into a single uint8 array for transport, and unpack it.

Flower sends, stores and asks for each array by itself, with several requests each: a 7B
model's adapter of 448 tensors would cost thousands of requests a client and round. Both
sides know names, types and shapes, so that nothing of them travels with the numbers.

Arrays lie one after the other, those of larger items first, so that each is aligned.
"""

import io
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fedsafe.errors import ModelError

Shape = tuple[int, ...]
Arrays = Mapping[str, "np.ndarray[Any, Any]"]
Layout = Mapping[str, tuple[str, Shape]]
"""Type and shape of each array, by name, in order."""
Parcel = np.ndarray[tuple[int], np.dtype[np.uint8]]


def size(layout: Layout) -> int:
    """Return the size in bytes of packed arrays."""
    return sum(np.dtype(kind).itemsize * math.prod(shape) for kind, shape in layout.values())


def pack(arrays: Arrays) -> dict[str, Any]:
    """Return arrays as one of uint8 (bytes,): what Flower's ``Array`` is made of.

    Its data is an .npy file. Each array is copied once, and nothing else is.
    """
    layout = {name: (array.dtype.str, array.shape) for name, array in arrays.items()}
    shape, header = (size(layout),), io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    ordered = (np.ascontiguousarray(arrays[name]) for name, _, _ in _places(layout))
    flat = (array.reshape(-1).view(np.uint8).data for array in ordered)
    data = b"".join([header.getvalue(), *flat])
    return {"dtype": "uint8", "shape": shape, "stype": "numpy.ndarray", "data": data}


def unpack(parcel: Parcel, layout: Layout) -> dict[str, "np.ndarray[Any, Any]"]:
    """Return the arrays of a parcel, in the layout's order; they are views of it.

    Raises:
        ModelError: It has another type or size than its layout says.
    """
    try:
        return _views(parcel, layout)
    except ValueError as error:
        raise ModelError(f"An adapter came with shapes that no array can have: {error}.") from None


def _views(parcel: Parcel, layout: Layout) -> dict[str, "np.ndarray[Any, Any]"]:
    wanted = size(layout)
    if parcel.dtype != np.uint8 or parcel.shape != (wanted,):
        raise ModelError(
            f"An adapter came as {parcel.dtype} {parcel.shape}; {len(layout)} tensors take "
            f"uint8 ({wanted},). Run the same FedSafe version on both sides."
        )
    found = {
        name: parcel[begin:end].view(layout[name][0]).reshape(layout[name][1])
        for name, begin, end in _places(layout)
    }
    return {name: found[name] for name in layout}


def _places(layout: Layout) -> Iterator[tuple[str, int, int]]:
    """Yield (name, begin, end) of each array, in bytes."""
    begin = 0
    for name in sorted(layout, key=lambda name: -np.dtype(layout[name][0]).itemsize):
        kind, shape = layout[name]
        end = begin + np.dtype(kind).itemsize * math.prod(shape)
        yield name, begin, end
        begin = end
