"""Gram matrix of a round's updates, from one pass: distances, norms and cosines.

Everything a geometric rule asks (distances, norms, cosines, also between mixtures of
rows) follows from the Gram matrix of the n rows. Its products are float32 sums over
blocks, accumulated in float64, of rows less one of them: so a common part ever so large
does no harm. Where that is not enough (rows nearly alike, or too large to square) the
pass is made once more in float64. Knows nothing of any rule.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsafe.lazy import torch
from strategies.kernels import numba_sort
from strategies.kernels.blockwise import NARROW, Visit, stretches, sweep
from strategies.kernels.update_matrix import Rows

if TYPE_CHECKING:
    from torch import Tensor, dtype

_SMALL = 2**21
"""Elements up to which float64 costs nothing worth saving."""
_RUNS, _RUN = 16, 256
"""How many stretches of how many columns tell which row lies in the middle."""
Known = tuple["Tensor", "Tensor | None", "Tensor"]
_known: ContextVar[dict[tuple[int, int], Known] | None] = ContextVar("known", default=None)


@dataclass(frozen=True)
class Geometry:
    """Where rows lie to each other; all tensors float64, on the CPU.

    Attributes:
        basis: (p, p) inner products of the points (rows of the matrix, then the guest if
            there is one) less a centre, and of that centre, which comes last.
        coordinates: (m, p) what the rows are made of, in that basis; the guest is the
            last of them.
    """

    basis: "Tensor"
    coordinates: "Tensor"

    def inner(self) -> "Tensor":
        """Return the (m, m) inner products of the rows."""
        return self.coordinates @ self.basis @ self.coordinates.T

    def squared_norms(self) -> "Tensor":
        """Return the (m,) squared Euclidean norms."""
        return self._lengths(self.coordinates)

    def squared_distances(self) -> "Tensor":
        """Return the (m, m) squared Euclidean distances; zero on the diagonal."""
        coordinates = self.coordinates.clone()
        coordinates[:, -1] -= 1
        return _distances(coordinates @ self.basis @ coordinates.T)

    def squared_distances_to(self, weights: "Tensor") -> "Tensor":
        """Return the (m,) squared distances to the sum of the rows with (m,) weights."""
        return self._lengths(self.coordinates - weights @ self.coordinates)

    def length(self, weights: "Tensor") -> float:
        """Return the norm of the sum of the rows with (m,) weights."""
        return float(self._lengths(weights[None] @ self.coordinates).sqrt())

    def cosines(self) -> "Tensor":
        """Return the (m, m) cosines; zero wherever a row is zero."""
        norms = self.squared_norms().sqrt()
        scale = torch.where(norms > 0, 1 / norms, 0.0)
        return (self.inner() * scale[:, None] * scale).clamp(-1, 1)

    def _lengths(self, vectors: "Tensor") -> "Tensor":
        return ((vectors @ self.basis) * vectors).sum(dim=1).clamp(min=0)


@contextmanager
def shared() -> Iterator[None]:
    """Measure each matrix once within this block; nobody may change one meanwhile."""
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


def measure(rows: Rows, guest: "Tensor | None" = None) -> Geometry:
    """Return where the rows lie to each other.

    Args:
        rows: The rows.
        guest: One more (d,) row to be measured with them.

    Raises:
        ValueError: A row is not finite; the message names it.
    """
    memory = _known.get()
    if memory is None:
        memory = {}
    key = rows.matrix.data_ptr(), 0 if guest is None else guest.data_ptr()
    if key not in memory:  # what was measured is kept, so that nobody takes its address
        memory[key] = rows.matrix, guest, _basis(rows.matrix, guest)
    n = len(rows.matrix)
    mixing = torch.eye(n, dtype=torch.float64) if rows.mixing is None else rows.mixing
    if guest is not None:
        mixing = torch.nn.functional.pad(mixing, (0, 1, 0, 1))
        mixing[-1, -1] = 1.0
    coordinates = torch.cat([mixing, mixing.sum(dim=1, keepdim=True)], dim=1)
    return Geometry(memory[key][-1], coordinates)


def norms(rows: Rows) -> "Tensor":
    """Return the (m,) Euclidean norms, float64, in one cheap pass where nothing is mixed.

    Raises:
        ValueError: A row is not finite; the message names it.
    """
    if rows.mixing is not None:
        return measure(rows).squared_norms().sqrt()

    def prepare() -> Visit["Tensor"]:
        def visit(part: slice) -> "Tensor":
            lengths = torch.linalg.vector_norm(rows.matrix[:, part].float(), dim=1)
            return lengths.double().cpu()  # type: ignore[no-any-return]

        return visit

    lengths = torch.stack(sweep(rows.matrix, NARROW, prepare))
    if not torch.isfinite(lengths).all():  # or too large to square in float32
        rows.require_finite()
        return measure(rows).squared_norms().sqrt()
    total: Tensor = lengths.square().sum(dim=0)
    return total.sqrt()


def _basis(matrix: "Tensor", guest: "Tensor | None") -> "Tensor":
    """Measure, and measure again in float64 around a better centre where in doubt."""
    exact = matrix.numel() <= _SMALL or matrix.dtype == torch.float64
    kind, centre = torch.float64 if exact else torch.float32, _likely_centre(matrix)
    basis = _products(matrix, guest, centre, kind)
    for _ in range(2):
        if not torch.isfinite(basis).all():
            _require_finite(matrix, guest)
        elif _trustworthy(basis, 1e-2 if kind == torch.float32 else 1e-10):
            break
        else:
            better = _middle(_distances(basis[:-1, :-1]))
            if better == centre and kind == torch.float64:
                break
            centre = better
        kind = torch.float64
        basis = _products(matrix, guest, centre, kind)
    return basis


def _require_finite(matrix: "Tensor", guest: "Tensor | None") -> None:
    Rows(matrix).require_finite()
    if guest is not None and not torch.isfinite(guest).all():
        raise ValueError("The reference update must be finite; it holds NaN or infinity.")


def _products(matrix: "Tensor", guest: "Tensor | None", centre: int, kind: "dtype") -> "Tensor":
    """Return the inner products of points less the centre, and of the centre, float64."""
    n = len(matrix)
    points = n if guest is None else n + 1
    total = torch.zeros(points + 1, points + 1, dtype=torch.float64)
    if kind == torch.float32 and numba_sort.suits(matrix):
        for product in sweep(matrix, NARROW, lambda: _compiled_products(matrix, guest, centre)):
            total += product
        return total.triu() + total.triu(1).T

    def prepare() -> Visit["Tensor"]:
        scratch = torch.empty(0, dtype=kind, device=matrix.device)

        def visit(part: slice) -> "Tensor":
            nonlocal scratch
            size = part.stop - part.start
            if size * (points + 1) > len(scratch):
                scratch = scratch.new_empty((points + 1) * size)
            block = scratch[: (points + 1) * size].view(points + 1, size)
            block[:n] = matrix[:, part]
            if guest is not None:
                block[n] = guest[part]
            block[points] = block[centre]
            block[:points] -= block[points]
            return (block @ block.T).double().cpu()

        return visit

    for product in sweep(matrix, NARROW, prepare):
        total += product
    return (total + total.T) / 2


def _compiled_products(matrix: "Tensor", guest: "Tensor | None", centre: int) -> Visit["Tensor"]:
    """Return what finds a block's inner products, on and above the diagonal."""
    from strategies.kernels.numba_sums import producer

    points = len(matrix) + (guest is not None)
    nobody = matrix.new_empty(0) if guest is None else guest.float().contiguous()
    rows, extra, add = matrix.numpy(), nobody.numpy(), producer()

    def visit(part: slice) -> "Tensor":
        products = torch.zeros(points + 1, points + 1, dtype=torch.float64)
        add(rows, part.start, part.stop, centre, extra, products.numpy())
        return products

    return visit


def _distances(gram: "Tensor") -> "Tensor":
    gram = (gram + gram.T) / 2  # two rows are as far from each other either way, to the bit
    norms = gram.diagonal()
    scale = norms[:, None] + norms
    squared = scale - 2 * gram
    squared = torch.where(squared < 1e-13 * scale, 0.0, squared)  # below what float64 resolves
    return squared.fill_diagonal_(0.0)


def _trustworthy(basis: "Tensor", resolution: float) -> bool:
    """Tell whether every distance, those from zero included, survived the subtraction."""
    gram, centre = basis[:-1, :-1], basis[-1, -1]
    norms = gram.diagonal()
    pairs, scale = norms[:, None] + norms - 2 * gram, norms[:, None] + norms
    lengths, reach = norms + 2 * basis[-1, :-1] + centre, norms + centre
    apart = (pairs >= resolution * scale) | torch.eye(len(gram), dtype=torch.bool)
    return bool(apart.all() and (lengths >= resolution * reach).all())


def _likely_centre(matrix: "Tensor") -> int:
    """Return the row in the middle, judged by a few stretches of columns."""
    last = max(matrix.shape[1] - _RUN, 0)
    starts = sorted({last * run // (_RUNS - 1) for run in range(_RUNS)})
    sample = stretches(matrix, starts, _RUN, lambda part: matrix[:, part])
    return _middle(torch.cdist(sample.double(), sample.double(), compute_mode=_DIRECT).square())


def _middle(squared: "Tensor") -> int:
    """Return the row whose median distance is smallest."""
    middle = squared.sort(dim=1).values[:, len(squared) // 2]
    return int(torch.nan_to_num(middle, nan=torch.inf).argmin())


_DIRECT = "donot_use_mm_for_euclid_dist"
