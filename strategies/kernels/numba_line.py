"""Numba kernel of residual reweighting: the repeated-median line of every column.

The steps of `strategies.rules.residual`, taken on strips of columns that stay in the first-level
cache: sorting networks whose comparators are loops over a strip, which the compiler turns
into vector instructions. Knows nothing of what is done
with the lines.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.kernels.sorting_networks import network

if TYPE_CHECKING:
    Wires = np.ndarray[Any, np.dtype[np.int64]]
    Strip = np.ndarray[Any, np.dtype[np.float32]]
    Plan = tuple[Wires, Wires, Wires, Wires]

LARGE = 2**24
"""Elements from which compiling pays: it takes some seconds, once a process."""
STRIP = 128
"""Columns of a strip: with ten rows 25 KB in all."""
Step = Callable[..., Any]
Fitter = Callable[..., bool]
"""``(block, plan, sharpness, threshold, weights, trust, out) -> finite``: see `fitter`."""


def plan(n: int) -> "Plan":
    """Return the comparators that sort n rows, and that find three medians.

    Those are of n - 1 slopes, of n slopes, and of n errors but the smallest. A comparator
    is the two rows, and which of its two results is read.
    """

    def wires(count: int, first: int, last: int) -> "Wires":
        return np.array(network(count, first, last, ordered=True), np.int64).reshape(-1, 4)

    slopes, points = wires(n - 1, (n - 2) // 2, (n - 1) // 2), wires(n, (n - 1) // 2, n // 2)
    return wires(n, 0, n - 1), slopes, points, wires(n, 1 + (n - 2) // 2, 1 + (n - 1) // 2)


@cache
def fitter() -> Fitter:
    """Return the compiled function that fits all columns of an (n, c) float32 block.

    Where ``out`` is empty it adds each row's confidences, times their spread, to ``trust``
    (n,) float64. Else it writes to ``out`` (c,) float32 the sum of the rows by ``weights``
    (n,) float32, with the line's value wherever a confidence is below the threshold. It
    returns whether all values were finite.
    """
    import numba

    compiled = numba.njit(nogil=True, error_model="numpy")
    exchange = compiled(_exchange)
    steps = [compiled(step) for step in (_load, _rank, _draw_lines, _trust, _restrict)]
    slope, confide = compiled(_slope_finder(exchange)), compiled(_confider(exchange))
    fit: Fitter = compiled(_block_fitter(exchange, slope, confide, *steps))
    return fit


def _exchange(rows: "Strip", wires: "Wires") -> None:
    """Run a network over rows, which are overwritten."""
    for wire in range(wires.shape[0]):
        low, high = rows[wires[wire, 0]], rows[wires[wire, 1]]
        if wires[wire, 2] and wires[wire, 3]:
            for v in range(STRIP):
                a, b = low[v], high[v]
                low[v] = a if a < b else b
                high[v] = b if a < b else a
        elif wires[wire, 2]:
            for v in range(STRIP):
                low[v] = low[v] if low[v] < high[v] else high[v]
        else:
            for v in range(STRIP):
                high[v] = high[v] if low[v] < high[v] else low[v]


def _rank(values: "Strip", ranks: "Strip") -> None:
    """Write each value's rank in its column, of equal ones the lower row first."""
    n = values.shape[0]
    for row in range(n):
        ranks[row] = row
    for row in range(n):
        mine, rank = values[row], ranks[row]
        for other in range(row + 1, n):
            theirs, below = values[other], ranks[other]
            for v in range(STRIP):
                above = np.float32(1) if mine[v] > theirs[v] else np.float32(0)
                rank[v] += above
                below[v] -= above


def _slope_finder(exchange: Step) -> Step:
    """Return the function that finds the repeated median of the slopes between points."""

    def find_slope(
        ordered: "Strip", slopes: "Strip", medians: "Strip", among: "Wires", of: "Wires"
    ) -> None:
        n, half = ordered.shape[0], np.float32(0.5)
        for point in range(n):
            here, place = ordered[point], 0
            for other in range(n):
                if other != point:
                    there, slope = ordered[other], slopes[place]
                    apart = np.float32(1 / (other - point))
                    for v in range(STRIP):
                        slope[v] = (there[v] - here[v]) * apart
                    place += 1
            exchange(slopes, among)
            low, high, median = slopes[(n - 2) // 2], slopes[(n - 1) // 2], medians[point]
            for v in range(STRIP):
                median[v] = (low[v] + high[v]) * half
        exchange(medians, of)
        low, high, median = medians[(n - 1) // 2], medians[n // 2], medians[0]
        for v in range(STRIP):
            median[v] = (low[v] + high[v]) * half

    return find_slope


def _confider(exchange: Step) -> Step:
    """Return the function that turns values and lines into confidences."""

    def confide(
        values: "Strip", lines: "Strip", ranks: "Strip", errors: "Strip", of: "Wires", reach: float
    ) -> None:
        n, one = values.shape[0], np.float32(1)
        for row in range(n):
            value, line, error = values[row], lines[row], errors[row]
            for v in range(STRIP):
                error[v] = abs(value[v] - line[v])
        exchange(errors, of)
        low, high, scale = errors[1 + (n - 2) // 2], errors[1 + (n - 1) // 2], errors[0]
        factor = np.float32(1.4826 * (1 + 5 / (n - 1)) / 2)
        for v in range(STRIP):
            scale[v] = factor * (low[v] + high[v]) + np.float32(1e-7)
        middle, spread = np.float32((n - 1) / 2), np.float32(12 / (n * (n * n - 1)))
        most, bound = np.float32(1 - 1 / n), np.float32(reach)
        for row in range(n):
            value, line, rank = values[row], lines[row], ranks[row]
            for v in range(STRIP):
                offset = rank[v] - middle
                free = max(most - offset * offset * spread, np.float32(0))
                far = abs(value[v] - line[v])
                near = bound * np.sqrt(free) * scale[v]
                rank[v] = one if far <= near else near / far

    return confide


def _load(block: "Strip", left: int, size: int, values: "Strip", ordered: "Strip") -> bool:
    """Copy a strip of the block, twice; return whether all of it is finite."""
    flaws = np.float32(0)
    for row in range(values.shape[0]):
        source, value, copy = block[row], values[row], ordered[row]
        for v in range(size):
            value[v] = source[left + v]
            flaws += source[left + v] * np.float32(0)
        for v in range(STRIP):
            copy[v] = value[v]
    return bool(flaws == np.float32(0))


def _draw_lines(ordered: "Strip", slopes: "Strip", ranks: "Strip", lines: "Strip") -> None:
    """Write the line through the medians, with the slopes in the first row, by rank."""
    n, half = ordered.shape[0], np.float32(0.5)
    slope, low, high = slopes[0], ordered[(n - 1) // 2], ordered[n // 2]
    for row in range(n):
        rank, line = ranks[row], lines[row]
        for v in range(STRIP):
            offset = rank[v] - np.float32(n - 1) * half
            line[v] = (low[v] + high[v]) * half + slope[v] * offset


def _trust(confidences: "Strip", size: int, trust: "np.ndarray[Any, Any]") -> None:
    """Add each row's confidences, times their standard deviation, to its trust."""
    n = confidences.shape[0]
    for v in range(size):
        mean, spread = np.float32(0), np.float32(0)
        for row in range(n):
            mean += confidences[row, v] / np.float32(n)
        for row in range(n):
            spread += (confidences[row, v] - mean) ** 2
        spread = np.sqrt(spread / np.float32(n - 1))
        for row in range(n):
            trust[row] += confidences[row, v] * spread


def _restrict(
    values: "Strip", lines: "Strip", sure: "Strip", least: float, weights: "Strip", out: "Strip"
) -> None:
    """Write the weighted sum of values, or the line's where the confidence is too low."""
    for v in range(out.shape[0]):
        out[v] = 0
    for row in range(values.shape[0]):
        value, line, confidence, weight = values[row], lines[row], sure[row], weights[row]
        for v in range(out.shape[0]):
            out[v] += weight * (value[v] if confidence[v] >= least else line[v])


def _block_fitter(exchange: Step, find_slope: Step, confide: Step, *steps: Step) -> Fitter:
    """Return the function that `fitter` compiles."""
    load, rank, draw_lines, add_trust, restrict = steps

    def fit(
        block: "Strip",
        wires: "Plan",
        sharpness: float,
        threshold: float,
        weights: "Strip",
        trust: "np.ndarray[Any, Any]",
        out: "Strip",
    ) -> bool:
        n, finite, reach = block.shape[0], True, sharpness * np.sqrt(2 / block.shape[0])
        values, ordered = np.zeros((n, STRIP), np.float32), np.empty((n, STRIP), np.float32)
        lines, ranks = np.empty((n, STRIP), np.float32), np.empty((n, STRIP), np.float32)
        spare, slopes = np.empty((n, STRIP), np.float32), np.empty((n, STRIP), np.float32)
        for left in range(0, block.shape[1], STRIP):
            size = min(STRIP, block.shape[1] - left)
            finite = load(block, left, size, values, ordered) and finite
            exchange(ordered, wires[0])
            rank(values, ranks)
            find_slope(ordered, spare, slopes, wires[1], wires[2])
            draw_lines(ordered, slopes, ranks, lines)
            confide(values, lines, ranks, spare, wires[3], reach)
            if out.size:
                least = np.float32(threshold)
                restrict(values, lines, ranks, least, weights, out[left : left + size])
            else:
                add_trust(ranks, size, trust)
        return finite

    return fit
