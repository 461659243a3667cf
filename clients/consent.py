"""Client-side policy: which models, files and plug-ins a server's job may use here.

The job comes from the server, and may name any function that can be imported, any file or
directory that is there, and any repository of the Hugging Face hub. A client runs no code,
opens no path and downloads nothing that its own operator has not named. A refusal depends
on what the operator said alone, never on what lies on this machine: a server learns nothing
from it. Code that is installed here and asks for another model is held to the same.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from clients.node_config import NodeConfig
from fedsafe.contracts import REGISTRIES, ModelContext
from fedsafe.errors import FedSafeError, RunError
from fedsafe.experiment.schema import Adapter, Model, PluginChoice
from fedsafe.messages import Job
from fedsafe.micro.base import is_embedded
from fedsafe.training.context import SessionContext

Wish = tuple[str, str, PluginChoice]
"""Kind, place in the experiment, and choice of a plug-in that a server names."""


def check(job: Job, site: NodeConfig, files: frozenset[str] = frozenset()) -> None:
    """Check a job against the client operator's allowed models, data sources and plug-ins.

    Args:
        job: What the server asks for.
        site: What the operator has named.
        files: Files that a source of the server's may read.

    Raises:
        RunError: The job names a base model, a data source, a file, or a plug-in by its path,
            that the operator has not named.
    """
    if site.model is None and not is_embedded(job.model.path):
        raise RunError(
            "The server's model.path names a base model of this machine or of the hub, and this "
            "client loads none that its operator has not named. If it is meant, start this client "
            "with --model DIRECTORY, or with --model OWNER/NAME to download it."
        )
    for kind, place, choice in _spread(_wishes(job, site)):
        if ":" in choice.name and choice.name not in site.plugins:
            raise RunError(
                f"The server's {place} is the plug-in '{choice.name}', by its path: this client "
                "runs no code that its operator has not named. If it is installed here and meant, "
                f"start this client with --plugin {choice.name}."
            )
        named = choice.name in site.plugins or (kind == "source" and embedded(choice.name))
        wanted = [str(path) for path in _files(kind, choice)]
        _refuse_files(kind, place, [path for path in wanted if path not in files])
        if kind == "source" and not named and not wanted:
            raise RunError(
                f"The server's {place} is '{choice.name}', which would have this client read files "
                "or download data that its operator has not named. If that is meant, name it here: "
                "start this client with --data."
            )


def embedded(source: str) -> bool:
    """Whether a source is part of FedSafe and reads nothing, unless a setting names a file.

    Its registration says so, with the trait ``embedded``; of a mixture each part is checked. Any
    other source may read files or download, and so may one that another package registered.
    """
    plugin = REGISTRIES["source"][source]
    return "embedded" in plugin.traits and plugin.function.__module__.startswith("fedsafe.")


class GuardedContext(SessionContext):
    """Model context that loads only models which the client's operator has named."""

    named: frozenset[str] = frozenset()
    """Paths of other models that this machine's operator has named."""

    def load_other(self, path: str) -> AbstractContextManager[ModelContext]:
        """Load another model, if the operator has named it.

        Raises:
            RunError: It is the server's wish alone.
        """
        if str(path) not in self.named:
            raise RunError(
                "The server's experiment would have this client load a second model, and this "
                "client loads none that its operator has not named. If it is meant, start this "
                "client with a --generator or --behaviour whose settings name it."
            )
        return super().load_other(path)


def model_here(model: Model, site: NodeConfig | None) -> Model:
    """Return the base model's settings with this machine's own path and device."""
    changes: dict[str, str | None] = {}
    if site is not None and site.model is not None:
        same = site.model == model.path  # a name on the hub, as the operator has named it
        changes |= {"path": site.model, "revision": model.revision if same else None}
    if site is not None and site.device is not None:
        changes["device"] = site.device
    return model.model_copy(update=changes)


def without_own_paths(error: FedSafeError, site: NodeConfig) -> FedSafeError:
    """Return an error as the server may read it: without paths that this client's operator gave.

    The whole of it is in the log of this machine.
    """
    names = {
        **{path: "a file of this client's own" for path in named_paths(site) if "/" in path},
        str(site.socket): "this client's own trainer",
        str(site.state): "this client's own directory",
    }
    if site.model is not None:
        own = Path(site.model).expanduser()
        here = {site.model, str(own), str(own.resolve())}
        names |= dict.fromkeys(here, "this client's own model")
    if site.start_adapter is not None:
        names[site.start_adapter] = "this client's own adapter"
    told = str(error)
    for path in sorted(names, key=len, reverse=True):
        told = told.replace(path, names[path])
    return error if told == str(error) else type(error)(told)


def adapter_here(adapter: Adapter, site: NodeConfig | None) -> Adapter:
    """Return the adapter's settings with this machine's own path of the one to be merged.

    Raises:
        RunError: Its operator has not named one: the server's path is not this machine's.
    """
    if site is None or adapter.merged_start is None:
        return adapter
    if site.start_adapter is None:
        raise RunError(
            "This federation merges an adapter into the base weights, and this client was started "
            "without one. Start it with --start-adapter DIR."
        )
    return adapter.model_copy(update={"start": site.start_adapter})


def named_paths(site: NodeConfig) -> frozenset[str]:
    """Return the text values in the operator's own plug-in settings, such as model paths."""
    choices = [choice for choice in (site.behaviour, site.generator) if choice is not None]
    return frozenset(
        str(value)
        for choice in choices
        for value in choice.settings.values()
        if isinstance(value, str | Path)
    )


def _wishes(job: Job, site: NodeConfig) -> Iterator[Wish]:
    """Yield (kind, setting, choice) of every plug-in of the server's that this client would use."""
    yield "template", "data.template", job.template
    yield "algorithm", "training.algorithm", job.training.algorithm
    if isinstance(safety := job.training.algorithm.settings.get("safety"), dict):
        yield "source", "training.algorithm.safety", PluginChoice.model_validate(safety)
    if site.source is None and job.shared is not None:
        yield "source", "data.source", job.shared.source
        yield "partition", "data.partition", job.shared.partition
    yield from _contaminating(job, site)
    if site.red_team and job.attack is not None:
        if site.behaviour is None:
            yield "algorithm", "attack.behaviour", job.attack.behaviour
        if site.generator is None and job.attack.generator is not None:
            yield "generator", "attack.generator", job.attack.generator
        if job.attack.update is not None:
            yield "update attack", "attack.update", job.attack.update
        if (strategy := job.attack.strategy) is not None:
            yield "rule", "federation.strategy", strategy
            for choice in strategy.filters:
                yield "filter", "federation.strategy.filters", choice
            if strategy.optimizer is not None:
                yield "optimizer", "federation.strategy.optimizer", strategy.optimizer


def _contaminating(job: Job, site: NodeConfig) -> Iterator[Wish]:
    """Yield the generator of the malicious examples that are put among a client's own."""
    wanted = job.contamination
    if site.contaminated and site.generator is None and wanted and wanted.generator:
        yield "generator", "attack.generator", wanted.generator


def _refuse_files(kind: str, place: str, wanted: Iterable[str]) -> None:
    """Refuse to read files of this machine that its operator has not named.

    Raises:
        RunError: There are such files.
    """
    remedy = (
        "do it at the server: a filter in federation.strategy.filters reads its own files."
        if kind == "algorithm"
        else "name it here: start this client with --data, or as an attacker with --generator."
    )
    for path in wanted:
        raise RunError(
            f"The server's {place} would have this client read {path} on its own machine. If that "
            f"is meant, {remedy}"
        )


def _spread(wishes: Iterable[Wish]) -> Iterator[Wish]:
    """Yield each wish, and the sources inside a mixture or a generator as wishes of their own."""
    for kind, place, choice in wishes:
        yield kind, place, choice
        if (kind, choice.name) == ("source", "mixture"):
            parts = [PluginChoice.model_validate(part) for part in choice.settings.get("of", ())]
            yield from _spread((kind, f"{place}.of", part) for part in parts)
        if kind == "generator" and isinstance(choice.settings.get("source"), str | dict):
            part = PluginChoice.model_validate(choice.settings["source"])
            yield from _spread([("source", f"{place}.source", part)])


def _files(kind: str, choice: PluginChoice) -> Iterator[object]:
    """Yield the files and directories of this machine that a server's choice names."""
    settings = REGISTRIES[kind][choice.name].resolve(choice.settings)
    for name in choice.settings:
        if isinstance(settings[name], Path):
            yield settings[name]
    if (kind, choice.name) == ("source", "hub"):
        yield settings["path"]
