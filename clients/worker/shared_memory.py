"""Shared-memory arrays between two processes: a sealed memfd, passed by its descriptor.

Nothing is copied through a socket, nothing can change or shrink under the reader, and
nothing is left behind when either side dies. Linux only.
"""

import fcntl
import math
import mmap
import os
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from clients.worker.result import Arrays
from fedsafe.errors import RunError

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
ALIGNMENT = 64
DTYPE = r"^[<>|][biuf][1248]$"
"""Numbers and nothing else, as NumPy writes their types."""

Count = Annotated[int, Field(ge=0)]


class ArrayLayout(BaseModel):
    """Name, dtype, shape and byte offset of one array in the shared file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    dtype: Annotated[str, Field(pattern=DTYPE)]
    shape: tuple[Count, ...]
    offset: Count


def share(arrays: Mapping[str, "np.ndarray[Any, Any]"]) -> tuple[tuple[ArrayLayout, ...], int]:
    """Copy arrays into a sealed memfd; return their layouts and the descriptor to close.

    Raises:
        RunError: An array is not of numbers.
        OSError: There is no memory left.
    """
    places, offset = [], 0
    file = os.memfd_create("fedsafe-arrays", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for name, array in arrays.items():
            place, whole = _placed(name, array, offset)
            left, at = memoryview(whole.view(np.uint8).data), offset
            while left:
                written = os.pwrite(file, left, at)
                left, at = left[written:], at + written
            places.append(place)
            offset += -(-whole.nbytes // ALIGNMENT) * ALIGNMENT
        os.ftruncate(file, offset)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, SEALS | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(file)
        raise
    return tuple(places), file


def views(file: int, places: Iterable[ArrayLayout]) -> Arrays:
    """Map a memfd's arrays as read-only views, without a copy.

    The descriptor may be closed afterwards.

    Raises:
        RunError: The file can still change, or is too short.
    """
    try:
        sealed = fcntl.fcntl(file, fcntl.F_GET_SEALS) & SEALS == SEALS
        size = os.fstat(file).st_size
        memory = mmap.mmap(file, size, access=mmap.ACCESS_READ) if sealed and size else b""
        arrays = {place.name: _view(memory, place) for place in places} if sealed else {}
    except (OSError, ValueError, OverflowError) as error:
        raise RunError(
            f"The memory that came with a message on the trainer's socket is unusable: {error}."
        ) from None
    if not sealed:
        raise RunError("The memory that came with a message on the trainer's socket is not sealed.")
    return arrays


def _placed(
    name: str, array: "np.ndarray[Any, Any]", offset: int
) -> tuple[ArrayLayout, "np.ndarray[Any, Any]"]:
    """Return an array's layout at an offset, and its contiguous data."""
    whole = np.ascontiguousarray(array).reshape(-1)
    dtype = whole.dtype.str
    if not re.match(DTYPE, dtype):
        raise RunError(f"Array {name} is of type {whole.dtype}; adapters are of numbers.")
    return ArrayLayout(name=name, dtype=dtype, shape=array.shape, offset=offset), whole


def _view(memory: "mmap.mmap | bytes", place: ArrayLayout) -> "np.ndarray[Any, Any]":
    dtype, count = np.dtype(place.dtype), math.prod(place.shape)
    if not count:
        return np.empty(place.shape, dtype)
    return np.frombuffer(memory, dtype, count, place.offset).reshape(place.shape)
