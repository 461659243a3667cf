"""Adapters on the wire: what arrives, how exactly, in how many bytes."""

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedsafe.errors import ModelError
from fedsafe.models.adapters import Tensors
from fedsafe.models.compression import (
    SMALLEST_SCALE,
    Arrays,
    Wire,
    pack_adapter,
    pack_update,
    restore,
    scale_shape,
    unpack_adapter,
    uplink,
)

WIRES: tuple[Wire, ...] = get_args(Wire)
SHORT: tuple[Wire, ...] = ("bfloat16", "int8")
SIZES = {"float32": 4, "bfloat16": 2, "int8": 1}
A, B = "q.lora_A.weight", "q.lora_B.weight"
MATRICES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.floats(-(2.0**100), 2.0**100, width=32),
)


def _adapter(seed: int = 0, rank: int = 4, scale: float = 0.02) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    shapes = {A: (rank, 96), B: (64, rank)}
    return {n: scale * torch.randn(shape, generator=generator) for n, shape in shapes.items()}


def _arrived(wire: Wire, sent: Tensors, arrays: Arrays) -> Tensors:
    """Return the updates as the server restores them."""
    found = {name: torch.full_like(tensor, torch.nan) for name, tensor in sent.items()}
    for name, tensor in sent.items():
        restore(wire, name, arrays, tensor.numpy(), found[name].numpy())
    return found


def _sum(tensors: Tensors, more: Tensors) -> Tensors:
    return {name: tensor + more[name] for name, tensor in tensors.items()}


def _one(value: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> tuple[Tensors, Tensors]:
    tensor = torch.from_numpy(value.copy())
    return {"x": torch.zeros_like(tensor)}, {"x": tensor}


def test_float32_sends_the_adapter_as_it_is() -> None:
    adapter = _adapter()
    found = unpack_adapter("float32", pack_adapter("float32", adapter))
    assert all(torch.equal(found[name], adapter[name]) for name in adapter)


def test_float32_sends_the_trained_adapter_back() -> None:
    trained = _adapter(1)
    arrays, residual = pack_update("float32", _adapter(), trained, None)
    assert residual is None
    assert all(np.array_equal(arrays[name], trained[name].numpy()) for name in trained)


@pytest.mark.parametrize("wire", WIRES)
def test_what_is_unpacked_is_the_clients_own(wire: Wire) -> None:
    arrays = pack_adapter(wire, _adapter())
    for tensor in unpack_adapter(wire, arrays).values():
        tensor.fill_(7)
    found = unpack_adapter(wire, arrays)
    assert not any(bool((tensor == 7).any()) for tensor in found.values())


@pytest.mark.parametrize("wire", SHORT)
def test_adapter_is_rounded_to_the_nearest_bfloat16(wire: Wire) -> None:
    adapter = _adapter()
    found = unpack_adapter(wire, pack_adapter(wire, adapter))
    assert all(torch.equal(found[n], adapter[n].bfloat16().float()) for n in adapter)


@pytest.mark.parametrize("wire", SHORT)
def test_adapter_that_was_rounded_already_arrives_whole(wire: Wire) -> None:
    once = unpack_adapter(wire, pack_adapter(wire, _adapter()))
    twice = unpack_adapter(wire, pack_adapter(wire, once))
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_ties_go_to_the_even_bfloat16() -> None:
    tie_down, tie_up = 1 + 2**-8, 1 + 3 * 2**-8
    found = unpack_adapter(
        "bfloat16", pack_adapter("bfloat16", {"x": torch.tensor([tie_down, tie_up])})
    )
    assert found["x"].tolist() == [1.0, 1 + 2**-6]


def test_ties_go_to_the_even_step_of_int8() -> None:
    sent, trained = _one(np.array([[127, 0.5, 1.5, -2.5]], np.float32))
    arrays, _ = pack_update("int8", sent, trained, None)
    assert arrays["x"].tolist() == [[127, 0, 2, -2]]


def test_bfloat16_keeps_a_step_that_the_weight_would_swallow() -> None:
    sent = {"x": torch.full((2, 2), 1.0)}
    trained = {"x": sent["x"] + 2**-12}
    arrays, _ = pack_update("bfloat16", sent, trained, None)
    assert torch.equal(_arrived("bfloat16", sent, arrays)["x"], torch.full((2, 2), 2**-12))


@given(MATRICES)
@settings(max_examples=200)
def test_bfloat16_is_within_a_256th(
    value: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]",
) -> None:
    sent, trained = _one(value)
    arrays, _ = pack_update("bfloat16", sent, trained, None)
    error = (_arrived("bfloat16", sent, arrays)["x"] - trained["x"]).abs()
    assert bool((error <= trained["x"].abs() / 256 + 2.0**-133).all())


@given(MATRICES)
@settings(max_examples=200)
def test_int8_is_within_half_a_step(
    value: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]",
) -> None:
    sent, trained = _one(value)
    arrays, _ = pack_update("int8", sent, trained, None)
    error = (_arrived("int8", sent, arrays)["x"] - trained["x"]).abs()
    step = torch.from_numpy(arrays["x/scale"])
    assert bool((error <= 0.5001 * step + 128 * SMALLEST_SCALE).all())


@given(MATRICES)
@settings(max_examples=200)
def test_int8_tells_exactly_what_it_left_out(
    value: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]",
) -> None:
    sent, trained = _one(value)
    arrays, residual = pack_update("int8", sent, trained, None)
    assert residual is not None
    again = _sum(_arrived("int8", sent, arrays), residual)["x"].double()
    whole = trained["x"].double()
    assert bool(((again - whole).abs() <= 1e-6 * whole.abs().max()).all())


@pytest.mark.parametrize("rounds", [1, 40])
def test_error_feedback_keeps_the_sum_within_one_rounding(rounds: int) -> None:
    """However many rounds, what is missing is the last residual and no more."""
    sent, residual = _adapter(), None
    missing: Tensors = {name: torch.zeros_like(t, dtype=torch.float64) for name, t in sent.items()}
    largest = 0.0
    for number in range(rounds):
        trained = _sum(sent, _adapter(number + 1, scale=1e-3))
        arrays, residual = pack_update("int8", sent, trained, residual)
        arrived = _arrived("int8", sent, arrays)
        for name in sent:
            missing[name] += (trained[name] - sent[name]).double() - arrived[name].double()
        largest = max(largest, *(float(arrays[f"{n}/scale"].max()) for n in sent))
    assert max(float(error.abs().max()) for error in missing.values()) <= 0.51 * largest


def test_without_error_feedback_the_sum_drifts() -> None:
    """What the residual is for: a step below half the scale never arrives without it."""
    sent = {"x": torch.zeros(1, 4)}
    trained = {"x": torch.tensor([[127.0, 0.4, 0.4, 0.4]])}
    arrived = 0.0
    residual: Tensors | None = None
    for _ in range(10):
        arrays, residual = pack_update("int8", sent, trained, residual)
        arrived += float(_arrived("int8", sent, arrays)["x"][0, 1])
    alone, _ = pack_update("int8", sent, trained, None)
    assert float(_arrived("int8", sent, alone)["x"][0, 1]) == 0.0
    assert arrived == pytest.approx(4.0, abs=0.51)


@pytest.mark.parametrize("wire", SHORT)
def test_no_change_is_no_change(wire: Wire) -> None:
    sent = _adapter()
    arrays, _ = pack_update(wire, sent, sent, None)
    assert not any(bool(found.any()) for found in _arrived(wire, sent, arrays).values())


def test_row_of_zeros_beside_others_stays_zero() -> None:
    sent, trained = _one(np.array([[0, 0, 0], [1, -2, 3]], np.float32))
    arrays, residual = pack_update("int8", sent, trained, None)
    assert residual is not None
    found = _arrived("int8", sent, arrays)["x"]
    assert (found[0].tolist(), residual["x"][0].tolist()) == ([0, 0, 0], [0, 0, 0])


def test_numbers_too_small_for_a_scale_stay_with_the_client() -> None:
    sent, trained = _one(np.full((1, 3), 1e-44, np.float32))
    arrays, residual = pack_update("int8", sent, trained, None)
    assert residual is not None
    assert (bool(arrays["x"].any()), torch.equal(residual["x"], trained["x"])) == (False, True)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((4, 96), (4, 1)), ((64, 4), (1, 4)), ((4, 4), (4, 1)), ((5,), (1,)), ((2, 3, 4), (1, 1, 1))],
)
def test_each_component_of_the_rank_has_a_scale(
    shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert scale_shape(shape) == expected


@pytest.mark.parametrize("wire", WIRES)
def test_bytes_are_those_promised(wire: Wire) -> None:
    sent = {A: torch.zeros(8, 4096), B: torch.zeros(4096, 8)}
    numbers = sum(tensor.numel() for tensor in sent.values())
    arrays, _ = pack_update(wire, sent, sent, None)
    assert sum(array.nbytes for array in arrays.values()) <= 1.001 * SIZES[wire] * numbers


@pytest.mark.parametrize("wire", WIRES)
def test_bytes_to_the_client_are_those_promised(wire: Wire) -> None:
    sent = _adapter()
    numbers = sum(tensor.numel() for tensor in sent.values())
    down = {"float32": 4, "bfloat16": 2, "int8": 2}[wire]
    assert sum(array.nbytes for array in pack_adapter(wire, sent).values()) == down * numbers


@pytest.mark.parametrize("wire", WIRES)
def test_server_expects_what_the_client_sends(wire: Wire) -> None:
    sent = _adapter()
    arrays, _ = pack_update(wire, sent, _adapter(1), None)
    expected = uplink(wire, {name: tuple(tensor.shape) for name, tensor in sent.items()})
    assert {n: (str(a.dtype), a.shape) for n, a in arrays.items()} == expected


@pytest.mark.parametrize("wire", SHORT)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_update_that_is_not_finite_is_a_sentence(wire: Wire, value: float) -> None:
    sent = {"x": torch.zeros(2, 2)}
    with pytest.raises(ModelError, match=f"Tensor x cannot travel as {wire}"):
        pack_update(wire, sent, {"x": torch.full((2, 2), value)}, None)


def test_number_too_large_for_bfloat16_is_a_sentence() -> None:
    with pytest.raises(ModelError, match="too large for it"):
        pack_adapter("bfloat16", {"x": torch.tensor([3.4e38])})


@pytest.mark.parametrize("wire", SHORT)
def test_trained_adapter_of_another_shape_is_a_sentence(wire: Wire) -> None:
    with pytest.raises(ModelError, match="this model wants"):
        pack_update(wire, {"x": torch.zeros(2, 2)}, {"x": torch.zeros(2, 3)}, None)


def test_residual_of_another_adapter_is_a_sentence() -> None:
    sent = {"x": torch.zeros(2, 2)}
    with pytest.raises(ModelError, match="this model wants"):
        pack_update("int8", sent, sent, {"x": torch.zeros(1, 2)})
