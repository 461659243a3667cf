"""Functions that are called as no plug-in is."""


def nothing() -> None:
    """Take nothing."""
