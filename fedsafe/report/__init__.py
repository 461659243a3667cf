"""One self-contained HTML page from a run directory, and the words it shares with the terminal.

Knows nothing of models, messages or how a run is made: it reads records alone.
"""

from fedsafe.report.matrix_page import is_matrix_directory, write_matrix
from fedsafe.report.page import write
from fedsafe.report.seeds_page import is_seeds_directory, write_seeds

__all__ = [
    "is_matrix_directory",
    "is_seeds_directory",
    "write",
    "write_matrix",
    "write_seeds",
]
