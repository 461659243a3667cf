"""One self-contained HTML page from a run directory, and the words it shares with the terminal.

Knows nothing of models, messages or how a run is made: it reads records alone.
"""

from fedsafe.report.page import write
from fedsafe.report.seeds_page import is_seeds_directory, write_seeds

__all__ = ["is_seeds_directory", "write", "write_seeds"]
