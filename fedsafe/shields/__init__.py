"""Shields: what stands around generation when a defended adapter is served.

A shield lies beside its adapter in ``shield.json``, readable by its owner alone.
"""

from fedsafe.shields import secret_prefix
from fedsafe.shields.serving import (
    Exported,
    apply_shield,
    export_shield,
    load_shield,
    save_shield,
)

__all__ = [
    "Exported",
    "apply_shield",
    "export_shield",
    "load_shield",
    "save_shield",
    "secret_prefix",
]
