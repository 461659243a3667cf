"""One self-contained HTML page from a run directory, and the words it shares with the terminal.

Knows nothing of models, messages or how a run is made: it reads records alone.
"""

from fedsafe.report.page import write

__all__ = ["write"]
