"""List the data and models that an experiment can name or names: size, sha256, licence, purpose.

No text of any of them is read out.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from fedsafe.app import activate
from fedsafe.contracts import REGISTRIES
from fedsafe.errors import FedSafeError
from fedsafe.evaluation.suite_files import read_suite
from fedsafe.evaluation.suite_forms import PUBLISHED
from fedsafe.evaluation.suite_rows import Reading
from fedsafe.experiment.checks import choices
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.launch.preflight import ELSEWHERE
from fedsafe.micro.base import base_file, is_embedded, shipped
from fedsafe.models.files import IMPORTED, cache_directory
from fedsafe.models.packaged import PACKAGES
from fedsafe.policies.document import SHIPPED, PolicyName
from fedsafe.runs.files import file_digest

OURS: Final = "Apache-2.0"
KINDS: Final = {
    "source": "made by code",
    "suite": "made by code",
    "generator": "made during the run",
}
"""Kinds of plug-ins that are listed without a file, too, and where their data come from."""


@dataclass(frozen=True)
class Item:
    """A file, a directory, or data that code makes.

    Attributes:
        name: As an experiment names it, or the setting that names it.
        purpose: What it is for.
        path: Where it lies; empty: it is made by code, or lies on the hub.
        bytes: Of the file, or of all files of the directory; None: not here.
        sha256: Of the file, or the fingerprint of an imported model; empty: not known.
        licence: Where it is known.
    """

    name: str
    purpose: str
    path: str = ""
    bytes: int | None = None
    sha256: str = ""
    licence: str = ""

    @property
    def missing(self) -> bool:
        """Whether it has a path at which nothing lies."""
        return bool(self.path) and self.bytes is None


def at_hand() -> Iterator[Item]:
    """Yield what comes with FedSafe and what lies in its cache and in that of the hub."""
    for name in shipped():
        yield _file(name, "model.path: base model of the micro world", base_file(name), OURS)
    for name, path in _policies().items():
        purpose = "setting 'policy' of source, suite, judge and generator policy"
        yield _file(name, purpose, path, OURS)
    for path in sorted(cache_directory().glob(f"models/*/{IMPORTED}")):
        yield _imported(path)
    for package in PACKAGES.values():
        gguf = f"packages/{package.name}-{package.version}/{Path(package.member).name}"
        if (path := cache_directory() / gguf).is_file():
            purpose = "file that `fedsafe model import` makes a model of"
            yield _file(package.name, purpose, path, package.license)
    yield from _of_the_hub()


def named_by(experiment: Experiment) -> Iterator[Item]:
    """Yield the model, the files and the made data that an experiment names, by setting."""
    activate()
    yield _model(experiment.model.path, experiment.model.revision)
    for path, kind, choice in choices(experiment):
        yield from _chosen(path, kind, choice)


def _policies() -> dict[str, Path]:
    return {name: SHIPPED / f"{name}.yaml" for name in get_args(get_args(PolicyName)[0])}


def _model(path: str, revision: str | None) -> Item:
    if is_embedded(path):
        return _file("model.path", f"base model {path}", base_file(path), OURS)
    directory = Path(path).expanduser()
    if (directory / IMPORTED).is_file():
        found = _imported(directory / IMPORTED)
        return Item(
            "model.path", "base model", found.path, found.bytes, found.sha256, found.licence
        )
    if directory.is_dir():
        return _file("model.path", "base model", directory)
    at = f" at revision {revision}" if revision else ""
    return Item("model.path", f"base model {path} of the hub{at}")


def _chosen(path: str, kind: str, choice: PluginChoice) -> Iterator[Item]:
    """Yield the files of a plug-in's settings, or the plug-in itself where it makes data."""
    try:
        settings = REGISTRIES[kind][choice.name].resolve(choice.settings)
    except FedSafeError:
        return
    found = False
    for name, value in settings.items():
        file = _policies().get(str(value), value) if name == "policy" else value
        if isinstance(file, Path):
            found = True
            licence = OURS if file.parent == SHIPPED else _licence(kind, choice, file, settings)
            yield _file(f"{path}.{name}", f"{kind} {choice.name}", file.expanduser(), licence)
        for place, nested in _nested(f"{path}.{name}", name, value):
            found = True
            yield from _chosen(place, "source", nested)
    if not found and kind in KINDS:
        made = ELSEWHERE.get(choice.name, KINDS[kind])
        yield Item(path, f"{kind} {choice.name}: {made}")


def _nested(path: str, name: str, value: object) -> Iterator[tuple[str, PluginChoice]]:
    """Yield the sources that a setting names, such as those of a mixture."""
    listed = isinstance(value, list | tuple)
    for index, one in enumerate(value if listed else [value]):  # type: ignore[arg-type, var-annotated]
        is_choice = isinstance(one, dict) and isinstance(one.get("name"), str)
        if is_choice or (name == "source" and isinstance(one, str)):
            yield f"{path}[{index}]" if listed else path, PluginChoice.model_validate(one)


def _licence(kind: str, choice: PluginChoice, file: Path, settings: dict[str, Any]) -> str:
    """Return the licence of the published set whose columns a file of prompts has."""
    if kind != "suite" or choice.name != "file":
        return ""
    known = Reading.__dataclass_fields__
    with suppress(FedSafeError):
        form = read_suite(file, Reading(**{k: v for k, v in settings.items() if k in known})).form
        return f"{PUBLISHED[form]} ({form}, as published)" if form in PUBLISHED else ""
    return ""


def _imported(record: Path) -> Item:
    origin: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        origin = dict(json.loads(record.read_text(encoding="utf-8")))
    return Item(
        name=str(record.parent),
        purpose=f"model.path: {origin.get('name', 'imported model')}",
        path=str(record.parent),
        bytes=_size(record.parent),
        sha256=str(origin.get("fingerprint", "")),
        licence=str(origin.get("license", "")),
    )


def _of_the_hub() -> Iterator[Item]:
    """Yield the models and data sets in the hub's cache, which are named by their hub names."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repositories: Iterable[Any] = scan_cache_dir().repos
    except CacheNotFound:
        return
    settings = {"model": "model.path", "dataset": "data.source: {name: hub, dataset: ...}"}
    for one in sorted(repositories, key=lambda repository: str(repository.repo_id)):
        revision = max(one.revisions, key=lambda known: float(known.last_modified), default=None)
        at = "" if revision is None else f", revision {revision.commit_hash}"
        yield Item(
            name=one.repo_id,
            purpose=f"{settings.get(one.repo_type, one.repo_type)}{at}",
            path=str(one.repo_path),
            bytes=one.size_on_disk,
        )


def _file(name: str, purpose: str, path: Path, licence: str = "") -> Item:
    if not path.exists():
        return Item(name, purpose, str(path), licence=licence)
    digest = file_digest(path) if path.is_file() else ""
    return Item(name, purpose, str(path), _size(path), digest, licence)


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(one.stat().st_size for one in files)
