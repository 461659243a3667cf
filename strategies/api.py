"""`aggregate`: any rule and filter on NumPy arrays or tensors, without an experiment."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from math import prod
from typing import TYPE_CHECKING, Any

from fedsafe.contracts import Aggregate, State, Updates
from fedsafe.errors import ConfigError
from fedsafe.lazy import torch
from strategies.pipeline import Choice, Pipeline, build

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Array = Tensor | np.ndarray[Any, Any]


def aggregate(
    name: str,
    updates: "Array",
    weights: "Array | Sequence[float] | None" = None,
    *,
    filters: Sequence[Choice] = (),
    optimizer: Choice | None = None,
    per_block: bool | Mapping[str, slice] = False,
    state: State | None = None,
    clients: Sequence[str] | None = None,
    model: "Array | None" = None,
    root: "Array | None" = None,
    probe: "Array | Sequence[float] | None" = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    round: int = 1,
    **settings: Any,
) -> Aggregate:
    """Combine updates with any rule.

    >>> import numpy as np
    >>> updates = np.array([[1.0, 2.0], [1.2, 2.1], [0.9, 1.9], [900.0, -900.0]])
    >>> aggregate("median", updates).update
    tensor([1.1000, 1.9500])
    >>> round(float(aggregate("mean", updates, filters=["nnm"]).influence.sum()), 6)
    1.0

    Args:
        name: A rule's name, or ``module:function``.
        updates: (n, d) of any float type, on any device, in memory or mapped from a file;
            row i is what client i changed.
        weights: (n,) how much the server believes each client; equal when not given.
        filters: Names, or mappings of name and settings, applied in order.
        optimizer: Server optimizer applied to the result.
        per_block: Names and columns of the tensors to be combined one by one.
        state: ``.state`` of the last round's aggregate.
        clients: Stable identities of the rows, for rules with a memory.
        model: (d,) the adapter the clients were sent, for rules that want it.
        root: (d,) the server's own update, for rules and filters that want one.
        probe: (n,) the safety probe's score of each update, for filter safety-probe.
        shapes: Names and shapes of the tensors, in order, for filters of LoRA modules.
        round: Number of the round, from 1.
        **settings: The rule's own.

    Raises:
        PluginError: There is no such rule or filter.
        ConfigError: A setting is wrong, or there are too few clients for it.
        ValueError: The updates are not a finite (n, d) matrix, or what goes with each is not (n,).
    """
    matrix = _matrix(updates)
    pipeline = build(
        {**settings, "name": name}, filters, optimizer=optimizer, per_block=bool(per_block)
    )
    scores = None if probe is None else _numbers("Probe scores", probe, len(matrix)).tolist()
    names = tuple(clients or (map(str, range(len(matrix))) if scores else ()))
    prepared = Updates(
        matrix,
        _weights(weights, len(matrix)).to(matrix.device),
        _blocks(pipeline, per_block, shapes or {}),
        round,
        names,
        None if model is None else torch.as_tensor(model).float(),
        None if root is None else torch.as_tensor(root).float(),
        shapes=shapes or {},
        probe=None if scores is None else dict(zip(names, scores, strict=True)),
    )
    return pipeline(prepared, state)


def _matrix(updates: "Array") -> "Tensor":
    matrix: Tensor = torch.as_tensor(updates)
    if matrix.ndim != 2 or not matrix.is_floating_point():
        raise ValueError(
            f"Updates must be a floating-point (n, d) matrix; got {matrix.dtype} "
            f"{tuple(matrix.shape)}. Stack one flat row per client."
        )
    return matrix


def _blocks(
    pipeline: Pipeline, per_block: bool | Mapping[str, slice], shapes: Mapping[str, tuple[int, ...]]
) -> Mapping[str, slice]:
    """Return the columns of each tensor, in order.

    Raises:
        ConfigError: A filter works on LoRA modules, and no shapes were given.
    """
    if not shapes and any("modules" in part.plugin.traits for part in pipeline.filters):
        raise ConfigError(
            "A filter works on LoRA modules. Give shapes: each tensor's name with (rows, columns)."
        )
    ends = accumulate((prod(shape) for shape in shapes.values()), initial=0)
    columns = {name: slice(*part) for name, part in zip(shapes, pairwise(ends), strict=True)}
    return per_block if isinstance(per_block, Mapping) else columns


def _weights(given: "Array | Sequence[float] | None", n: int) -> "Tensor":
    if given is None:
        return torch.full((n,), 1 / max(n, 1))
    weights = _numbers("Weights", given, n)
    if not bool((weights >= 0).all()) or not weights.sum() > 0:
        raise ValueError(
            f"Weights must be {n} numbers, at least 0 and not all 0; got {weights.tolist()}."
        )
    return weights / weights.sum()


def _numbers(what: str, given: "Array | Sequence[float]", n: int) -> "Tensor":
    """Return a number for each update, float32 (n,).

    Raises:
        ValueError: There are more or fewer.
    """
    numbers = torch.as_tensor(given, dtype=torch.float32)
    if numbers.shape != (n,):
        raise ValueError(
            f"{what} must be {n} numbers, one for each update; got {tuple(numbers.shape)}."
        )
    return numbers
