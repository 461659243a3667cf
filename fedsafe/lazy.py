"""Lazy imports of heavy packages (torch, transformers), so that configuration checks are fast.

``from fedsafe.lazy import torch`` costs nothing until ``torch.something`` is read;
type checkers see the real package. Plug-in modules use it, because reading a
plug-in's settings means importing its module.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["torch"]


class _Lazy(ModuleType):
    """Stand for a package until one of its attributes is read."""

    def __getattr__(self, name: str) -> Any:
        """Import the package and hand the attribute on."""
        return getattr(importlib.import_module(self.__name__), name)


if TYPE_CHECKING:
    import torch
else:
    torch = _Lazy("torch")
