"""Names of the files and directories at the top of a run directory, each declared once.

Whatever writes into a run directory takes its name from `RunFile`, or begins it with a dot.
`fedsafe runs rm` removes a directory in which nothing else lies, so that a name which is not
declared here would make runs that nobody can remove.
"""

import re
from enum import StrEnum
from typing import Final

from fedsafe import plugin_modules


class RunFile(StrEnum):
    """A file or directory that a run may leave at the top of its directory."""

    EXPERIMENT = "experiment.yaml"
    PROVENANCE = "provenance.json"
    PLUGIN_PATHS = plugin_modules.RECORD
    """Where plug-ins named by path were found."""
    SUMMARY = "summary.json"
    EVENTS = "events.jsonl"
    ROUNDS = "rounds.jsonl"
    FEDERATION = "federation.json"
    """What the federation's bytes depend on."""
    BASE_ADAPTER = "base-adapter"
    """The adapter that training begins with."""
    ADAPTER = "adapter"
    ALIGNMENT = "alignment"
    CONTROL = "control"
    """The clean federation, laid out like the run."""
    DEFENSES = "defenses"
    SECOND_ATTACKS = "second-attacks"
    EVALUATIONS = "evaluations"
    REPORT = "report.html"
    REVEALED_REPORT = "report-revealed.html"
    EXPORTS = "exports"
    """What was exported, by tool."""
    LM_EVAL = "lm-eval.json"
    NEAR_PROMPTS = "near"
    """Acceptance: prompts near a defense's data, and their evaluation."""
    CLIENTS = "clients.jsonl"
    """Of a deployment: the clients that joined."""
    CLIENT_KEYS = "keys.jsonl"
    """Of a deployment: a line for each key that it ever listed: number, name, sha256."""
    RANDOMNESS = "randomness"
    """Of a deployment, 0600: `--randomness` with this file repeats the server's draws."""
    SERVER_KILLS = "server-kills.jsonl"
    """A line for each time the server was killed over a reply."""


CHECKPOINT: Final = re.compile(r"round-\d+")
"""Name of a round's checkpoint directory."""
NAMES: Final = frozenset(RunFile)


def is_run_file(name: str) -> bool:
    """Tell whether a run may have written a file of this name at the top of its directory."""
    return name.startswith(".") or name in NAMES or CHECKPOINT.fullmatch(name) is not None
