"""What a server's experiment may have a client do on a machine of its own.

It runs no code that its operator has not installed, and reads no data that its operator
has not named: an experiment comes from the server, and may name any function that can be
imported and any file that is there. The base model is loaded from where the experiment
says unless the operator says otherwise, and is refused if it is not the server's.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from clients.node_config import Site
from fedsafe.contracts import REGISTRIES
from fedsafe.errors import RunError
from fedsafe.experiment.schema import PluginChoice
from fedsafe.messages import Job

HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
"""Of a data set on the hub; a name without an owner may be a reader of local files."""


def check(job: Job, site: Site) -> None:
    """See that a server's wishes are among those that the operator agreed to.

    Raises:
        RunError: The experiment names a plug-in by its path, or a file of this machine.
    """
    for kind, place, choice in _wishes(job, site):
        if ":" in choice.name and choice.name not in site.plugins:
            raise RunError(
                f"The server's {place} is the plug-in '{choice.name}', by its path: this client "
                "runs no code that its operator has not named. If it is installed here and meant, "
                f"start this client with --plugin {choice.name}."
            )
        for path in _files(kind, choice):
            raise RunError(
                f"The server's {place} would have this client read {path} on its own machine. If "
                "that is meant, name it here: start this client with --data, or as an attacker "
                "with --generator."
            )


def _wishes(job: Job, site: Site) -> Iterator[tuple[str, str, PluginChoice]]:
    """Yield (kind, setting, choice) of every plug-in of the server's that this client would use."""
    yield "template", "data.template", job.template
    yield "algorithm", "training.algorithm", job.training.algorithm
    if site.source is None and job.shared is not None:
        yield "source", "data.source", job.shared.source
        yield "partition", "data.partition", job.shared.partition
    if site.red_team and job.attack is not None:
        if site.generator is None and job.attack.generator is not None:
            yield "generator", "attack.generator", job.attack.generator
        if job.attack.update is not None:
            yield "update attack", "attack.update", job.attack.update


def _files(kind: str, choice: PluginChoice) -> Iterator[object]:
    """Yield the files and directories of this machine that a server's choice names."""
    settings = REGISTRIES[kind][choice.name].resolve(choice.settings)
    for name in choice.settings:
        if isinstance(settings[name], Path):
            yield settings[name]
    if (kind, choice.name) == ("source", "hub"):
        path = str(settings["path"])
        if not HUB_NAME.fullmatch(path) or Path(path).exists():  # `datasets` prefers what is here
            yield path
