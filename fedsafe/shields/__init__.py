"""Shields: what stands around generation when a defended adapter is served.

A shield lies beside its adapter in ``shield.json``, readable by its owner alone.
"""

from fedsafe.shields import injection, secret_prefix, self_refine
from fedsafe.shields.chat import Shielded, apply_shields, shielded
from fedsafe.shields.serving import (
    Exported,
    apply_shield,
    export_shield,
    load_shield,
    save_shield,
)
from fedsafe.shields.template import export_template, template_of

__all__ = [
    "Exported",
    "Shielded",
    "apply_shield",
    "apply_shields",
    "export_shield",
    "export_template",
    "injection",
    "load_shield",
    "save_shield",
    "secret_prefix",
    "self_refine",
    "shielded",
    "template_of",
]
