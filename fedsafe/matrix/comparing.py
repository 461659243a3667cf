"""Compare cells of a matrix over its seeds: which cells make a side is said by their labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase

from fedsafe.errors import ConfigError
from fedsafe.matrix.axes import Axis, Label
from fedsafe.matrix.directory import read_record
from fedsafe.matrix.labels import chosen
from fedsafe.matrix.results import FINAL, SEED
from fedsafe.pipeline.compared_runs import OneRun, Side, check_stage
from fedsafe.pipeline.comparison import compare_sides
from fedsafe.runs.comparison_records import Comparison
from fedsafe.runs.matrix_records import CellRecord, MatrixRecord

Where = Mapping[str, Sequence[Label]]


def compare_cells(
    directory: Path,
    given: Sequence[Mapping[str, Label]],
    where: Where,
    stage: str = FINAL,
    *,
    reveal: bool = False,
) -> Comparison:
    """Compare cells with the first of them, paired by seed and prompt.

    Args:
        directory: A matrix directory.
        given: By axis the label of each side's cells; two or more sides.
        where: Labels that all sides have.
        stage: Compared stage; ``final``: the last that all of a side's cells have.
        reveal: Put prompts and replies of what flipped into the record.

    Raises:
        ConfigError: An axis or label is not there, or a side is no cell, or several with a seed.
        RunError: It is no matrix directory, or cells have no such stage or were asked otherwise.
    """
    if not 2 <= len(given) <= len(ascii_uppercase):
        raise ConfigError(
            f"A comparison takes 2 to {len(ascii_uppercase)} sides, and {len(given)} were given. "
            "Write each as AXIS=VALUE, the one that the others are compared with first."
        )
    record = read_record(directory)
    axes = [Axis(name, {label: {} for label in labels}) for name, labels in record.axes.items()]
    limits = {name: chosen("where", name, list(labels), axes) for name, labels in where.items()}
    sides, lost = [], list[str]()
    for label, one in zip(ascii_uppercase, given, strict=False):
        wanted = {name: chosen("side", name, [value], axes) for name, value in one.items()}
        said = ",".join(f"{name}={value}" for name, value in one.items())
        cells, failed = _cells(record, {**limits, **wanted}, said)
        lost += [f"{label}: cell {cell.name} is left out: {_why(cell)}" for cell in failed]
        sides.append(_side(directory, label, said, cells, stage))
    found = compare_sides(sides, reveal=reveal)
    told = [one for one in found.settings if one.path != "name"]  # each cell has its own
    return found.model_copy(update={"settings": told, "warnings": [*lost, *found.warnings]})


def _side(
    directory: Path, label: str, said: str, cells: Mapping[int, CellRecord], stage: str
) -> Side:
    """Return a side, with the stage of it that is compared."""
    runs = {seed: OneRun.read(directory / cell.directory) for seed, cell in cells.items()}
    side = Side(label, said, runs, seeded=True)
    side.stage = side.names[-1] if stage == FINAL else stage
    check_stage(side)
    return side


def _cells(
    record: MatrixRecord, wanted: Where, said: str
) -> tuple[dict[int, CellRecord], list[CellRecord]]:
    """Return the cells of a side by seed, and those that are not done.

    Raises:
        ConfigError: There is none that is done, or several with one seed.
    """
    found: dict[int, CellRecord] = {}
    unfinished = []
    for cell in record.cells:
        if any(cell.labels[name] not in one for name, one in wanted.items()):
            continue
        if cell.status != "done":
            unfinished.append(cell)
            continue
        seed = int(cell.labels.get(SEED, "0"))
        if seed in found:
            other = found[seed].labels
            open_ = [n for n, label in cell.labels.items() if other[n] != label]
            raise ConfigError(
                f"{said}: several cells are meant, which differ in {', '.join(open_)}. Choose one "
                f"value with --where {open_[0]}=...; only seeds are paired."
            )
        found[seed] = cell
    if not found:
        raise ConfigError(f"{said}: no finished cell has these values.")
    return found, unfinished


def _why(cell: CellRecord) -> str:
    return cell.reason or "it has not run yet."
