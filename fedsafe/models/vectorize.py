"""An adapter as one flat vector, and back: see `fedsafe.vectorize`."""

from fedsafe.vectorize import blocks, flat, moved

__all__ = ["blocks", "flat", "moved"]
