"""Command-line interface (typer): options, progress display, tables.

Importing it is quick: whatever a command needs is imported when it runs. Knows nothing
of how anything is trained, defended or judged.
"""

from fedsafe.cli.entry import main

__all__ = ["main"]
