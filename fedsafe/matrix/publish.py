"""Write what a matrix found: its page and its CSV, drawn from the cells' records."""

from pathlib import Path

from fedsafe.errors import ConfigError
from fedsafe.matrix.results import MEASURE, Results
from fedsafe.report import write_matrix
from fedsafe.runs.matrix_records import MatrixTable
from fedsafe.runs.search_records import read_search

SHOWN = 12
"""Measures on the page, at most."""


def publish(directory: Path) -> Path:
    """Write page and CSV of a matrix, finished or not, and return the page's path.

    Raises:
        RunError: It is no matrix directory, or a record was changed.
    """
    results = Results(directory)
    results.write_csv()
    return write_matrix(directory, results.record, _tables(results), read_search(directory))


def _tables(results: Results) -> list[MatrixTable]:
    """Return the table of each measure, that which the matrix is shown by first."""
    stages = (stage for listed in results.stages.values() for stage in listed)
    measures = dict.fromkeys(key for stage in stages for key in stage.scores.measures)
    first = str(results.record.table.get("measure", MEASURE))
    ordered = [key for key in (first, *measures) if key in measures]
    found = []
    for key in list(dict.fromkeys(ordered))[:SHOWN]:
        try:
            found.append(results.table(measure=key))
        except ConfigError:  # the file's own layout names what this part of it does not have
            found.append(_plain(results, key))
    return found


def _plain(results: Results, key: str) -> MatrixTable:
    names = [axis.name for axis in results.axes]
    return results.table(rows=names[:1], measure=key, stage="final", where={})
