"""The (n, d) matrix of updates as rules read it: block by block, mixed or mapped from a file.

The rows may be float16 to float64, lie in a file larger than memory, or be mixtures of
others that nobody has formed (``Updates.mixing``). Knows nothing of any rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsafe.contracts import Aggregate, State, Updates
from fedsafe.lazy import torch
from strategies.checks import reject
from strategies.kernels import numba_sort
from strategies.kernels.blockwise import NARROW, WIDE, Visit, sweep, vector

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """The (m, d) rows of a round: ``mixing @ matrix``, or the matrix itself."""

    matrix: "Tensor"
    mixing: "Tensor | None" = None

    @classmethod
    def of(cls, updates: Updates) -> "Rows":
        """Return the rows that some updates stand for."""
        mixing = None if updates.mixing is None else updates.mixing.detach().double().cpu()
        return cls(updates.matrix.detach(), mixing)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.matrix if self.mixing is None else self.mixing)

    @property
    def columns(self) -> int:
        """Number of coordinates, d."""
        return self.matrix.shape[1]

    def loader(self, width: int, spare: int = 0) -> Visit["Tensor"]:
        """Return a function that loads a block of columns into one scratch buffer.

        The buffer holds (m + spare, c) float32: the rows, then room for the caller.
        Each call overwrites the last block.
        """
        rows, matrix = len(self), self.matrix
        scratch = torch.empty(0, device=matrix.device)
        picked = self._picked()
        mixing = None if picked is not None else self.mixing
        weights = None if mixing is None else mixing.float().to(matrix.device)

        def load(part: slice) -> "Tensor":
            nonlocal scratch
            size = part.stop - part.start
            if (rows + spare) * size > len(scratch):
                scratch = scratch.new_empty((rows + spare) * max(size, min(width, self.columns)))
            block = scratch[: (rows + spare) * size].view(rows + spare, size)
            if weights is not None:
                torch.mm(weights, matrix[:, part].float(), out=block[:rows])
            elif picked is None:
                block[:rows] = matrix[:, part]
            else:
                for place, row in enumerate(picked):
                    block[place] = matrix[row, part]
            return block

        return load

    def _picked(self) -> list[int] | None:
        """Return which row of the matrix each row is, where each is one of them."""
        if self.mixing is None:
            return None
        largest = self.mixing.max(dim=1)
        single = (largest.values == 1) & (self.mixing.count_nonzero(dim=1) == 1)
        return largest.indices.tolist() if bool(single.all()) else None

    def base(self, coefficients: "Tensor") -> "Tensor":
        """Return the float64 weights of the matrix's own rows for weights of these."""
        weights = coefficients.detach().double().cpu()
        return weights if self.mixing is None else self.mixing.T @ weights

    def base_rows(self, mixing: "Tensor") -> "Tensor":
        """Return the mixing that makes further (k, m) mixtures of these rows."""
        return mixing if self.mixing is None else mixing @ self.mixing

    def finite(self) -> "Tensor":
        """Return which rows of the matrix hold finite numbers only, (n,)."""

        def prepare() -> Visit["Tensor"]:
            return lambda part: torch.isfinite(self.matrix[:, part].float()).all(dim=1)

        return torch.stack(sweep(self.matrix, NARROW, prepare)).all(dim=0).cpu()

    def require_finite(self) -> None:
        """Raise an error that names the rows with NaN or infinity, if there are any.

        Raises:
            ValueError: A row is not finite.
        """
        finite = self.finite()
        if not finite.all():
            raise reject(finite)

    def combine(self, coefficients: "Tensor", *, read_all: bool = False) -> "Tensor":
        """Return the weighted sum of the rows, float32 (d,), in one pass.

        Args:
            coefficients: (m,) weights.
            read_all: Whether rows of weight zero are read, too, and must be finite.

        Raises:
            ValueError: A row that counts is not finite.
        """
        matrix, weights = self.matrix, self.base(coefficients)
        used = torch.nonzero(weights).flatten()
        few = 2 * len(used) <= len(weights) and not read_all
        chosen = used if few else torch.arange(len(weights))
        result = vector(matrix)
        make = _compiled_sum if numba_sort.suits(matrix) else _sum
        add = make(matrix, chosen, weights[chosen].float(), result)
        if not all(sweep(matrix, WIDE, lambda: add)):
            self.require_finite()
        return result

    def form(self) -> "Tensor":
        """Return the rows themselves, float32 (m, d), in memory."""
        if self.mixing is None:
            return self.matrix.float()
        formed = torch.empty(len(self), self.columns, device=self.matrix.device)

        def prepare() -> Visit[None]:
            load = self.loader(NARROW)

            def visit(part: slice) -> None:
                formed[:, part] = load(part)

            return visit

        sweep(self.matrix, NARROW, prepare)
        return formed


def _sum(matrix: "Tensor", chosen: "Tensor", weights: "Tensor", result: "Tensor") -> Visit[bool]:
    """Return what writes a block of the chosen rows' sum, and tells if it is finite."""
    everyone = len(chosen) == len(matrix)
    chosen, weights = chosen.to(matrix.device), weights.to(matrix.device)

    def visit(part: slice) -> bool:
        block = matrix[:, part] if everyone else matrix[:, part].index_select(0, chosen)
        torch.mv(block.float().T, weights, out=result[part])
        return bool(torch.isfinite(result[part].sum()))

    return visit


def _compiled_sum(
    matrix: "Tensor", chosen: "Tensor", weights: "Tensor", result: "Tensor"
) -> Visit[bool]:
    """Return the same in compiled code."""
    from strategies.kernels.numba_sums import summer

    rows, picked, factors, out = matrix.numpy(), chosen.numpy(), weights.numpy(), result.numpy()
    add = summer()
    add(rows, 0, 0, picked, factors, out[:0])  # compiles, for all threads

    def visit(part: slice) -> bool:
        return add(rows, part.start, part.stop, picked, factors, out[part])

    return visit


def weighted(
    rows: Rows,
    coefficients: "Tensor",
    state: State | None = None,
    metrics: Mapping[str, float] | None = None,
    *,
    read_all: bool = False,
) -> Aggregate:
    """Return the weighted sum of rows as an aggregate; the weights are the influence."""
    influence = coefficients.detach().float().to(rows.matrix.device)
    update = rows.combine(coefficients, read_all=read_all)
    return Aggregate(update, influence, state or {}, metrics or {})


def middle(values: "Tensor") -> float:
    """Return the median of some numbers; of an even number, the mean of the middle two."""
    ordered = values.sort().values
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def uniform(rows: Rows) -> "Tensor":
    """Return equal weights that sum to one, float64 (m,)."""
    return torch.full((len(rows),), 1 / max(len(rows), 1), dtype=torch.float64)


def equally(rows: Rows, kept: "Tensor") -> "Tensor":
    """Return equal weights of the kept rows (indices or a mask), float64 (m,).

    They sum to one, or to zero where no row is kept.
    """
    weights = torch.zeros(len(rows), dtype=torch.float64)
    weights[kept] = 1.0
    return weights / weights.sum().clamp(min=1)
