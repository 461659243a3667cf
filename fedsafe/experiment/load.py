"""From a preset, a file, a run directory or a mapping to a checked experiment.

Every problem is reported at once, each with its path and what to do.
"""

import copy
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedsafe.errors import ConfigError
from fedsafe.experiment import names, yaml_text
from fedsafe.experiment.changes import apply, merge
from fedsafe.experiment.checks import problems
from fedsafe.experiment.paths import place
from fedsafe.experiment.schema import Experiment
from fedsafe.plugin_modules import search_as_recorded, search_in
from fedsafe.suggestions import suggestion
from fedsafe.validation_errors import Problem, locations_of, path_of, problems_of

PRESETS = Path(__file__).parent / "presets"
STDIN = "-"
Look = Callable[[Experiment], Sequence[Problem]]
"""A further check of an experiment, such as of the files that it names."""
SHOWN = 100
"""Problems that a message lists; a file with more is no experiment."""


def presets() -> dict[str, str]:
    """Return each preset's name and the first sentence of its header."""
    found = sorted(PRESETS.glob("*.yaml"))
    return {path.stem: _headline(path.read_text(encoding="utf-8")) for path in found}


def read_preset(name: str) -> str:
    """Return a preset's text, to be copied and edited.

    Raises:
        ConfigError: There is no preset of that name.
    """
    known = {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}
    if name not in known:
        raise ConfigError(
            f"There is no preset '{name}'.{suggestion(name, list(known))} "
            f"Presets: {', '.join(known)}."
        )
    return known[name].read_text(encoding="utf-8")


def load(
    reference: str | Path | Mapping[str, Any],
    changes: Iterable[str] = (),
    look: Look | None = None,
) -> Experiment:
    """Return a checked experiment.

    Paths in a file are relative to it, those in ``changes`` to the current directory.
    Modules of plug-ins are found beside the file and in the current directory.

    Args:
        reference: Preset name, path of a YAML file, ``-`` for standard input, run
            directory, or the values themselves.
        changes: ``a.b=value`` texts; values are read as YAML 1.2.
        look: A further check, whose problems are listed with the others.

    Raises:
        ConfigError: Anything is wrong; the message has a line for each problem, and its
            ``problems`` are the same as (path, sentence).
    """
    found: list[Problem]
    if isinstance(reference, Mapping):
        values, found, origin = copy.deepcopy(dict(reference)), [], "experiment"
    else:
        values, found = read(reference)
        origin = "standard input" if str(reference) == STDIN else str(reference)
    kept = not isinstance(reference, Mapping) and _is_directory(reference)
    for change in changes:
        found += apply(values, change)
    if not kept:  # a run goes on with the very paths that it began with
        search_in(Path.cwd(), last=True)
        place(values, Path.cwd())
    return validate(values, origin, found, look)


def validate(
    values: Mapping[str, Any],
    origin: str = "experiment",
    found: Sequence[Problem] = (),
    look: Look | None = None,
) -> Experiment:
    """Return the experiment of these values, checked.

    Args:
        values: Settings, as YAML has them.
        origin: What the message says is wrong.
        found: Problems that are known already.
        look: A further check.

    Raises:
        ConfigError: Anything is wrong; the message has a line for each problem.
    """
    listed = list(found)
    try:
        experiment = Experiment.model_validate(dict(values))
    except ValidationError as error:
        listed += problems_of(error, values, names.unknown)
        listed += _cross_problems(values, locations_of(error, values), look)
        raise _failure(origin, listed) from None
    listed += problems(experiment)
    listed += look(experiment) if look is not None else ()
    if listed:
        raise _failure(origin, listed)
    return experiment


def as_yaml(experiment: Experiment) -> str:
    """Return the resolved experiment as YAML that loads back to an equal one."""
    return yaml_text.dump(json.loads(experiment.as_json()))


def read(
    reference: str | Path, heirs: tuple[Path, ...] = ()
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the values of a file laid over those of its preset, and what is wrong in them."""
    path = Path(reference).expanduser() if str(reference).startswith("~") else Path(reference)
    run = _is_directory(path)
    if run:
        search_as_recorded(path)
        path = path / "experiment.yaml"
    if path in heirs:
        raise ConfigError(f"{path} inherits from itself: see its key 'preset'.")
    text, home = _text(path)
    origin = "standard input" if str(path) == STDIN else str(path)
    values, found = yaml_text.parse(text, origin)
    if not isinstance(values, dict):
        what = "is empty" if values is None else f"holds {type(values).__name__}"
        raise ConfigError(
            f"{origin} must hold a mapping of settings, such as `preset: micro`; it {what}."
        )
    if home is not None and not run:
        search_in(home)
        place(values, home)
    base = values.pop("preset", None)
    if base is None:
        return values, found
    if not isinstance(base, str) or not base:
        raise ConfigError(f"{path}: preset: expected the name of a preset or of a file.")
    beside = home / base if home is not None else Path(base)
    below, more = read(beside if _is_file(beside) else base, (*heirs, path))
    return merge(below, values), [*more, *found]


def _text(path: Path) -> tuple[str, Path | None]:
    """Return an experiment's text and the directory of its file; None for a preset."""
    if str(path) == STDIN:
        return sys.stdin.read(), Path.cwd()
    home: Path | None = None
    if _is_file(path):
        home = path.parent
        try:
            return path.read_text(encoding="utf-8-sig"), home
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is not YAML: expected UTF-8 ({error.reason}).") from None
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        raise ConfigError(f"There is no experiment file at {path}. Give a file or a preset's name.")
    return read_preset(str(path)), home


def _is_file(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):  # too long, or with a character that no name has
        return False


def _is_directory(reference: str | Path) -> bool:
    """Whether a run directory is meant; a preset's name means the preset, whatever lies here."""
    try:
        path = Path(reference).expanduser()
        if str(reference) in presets() and not (path / "experiment.yaml").is_file():
            return False
        return path.is_dir()
    except (OSError, ValueError, RuntimeError):
        return False


def _cross_problems(
    values: Mapping[str, Any], wrong: Sequence[tuple[int | str, ...]], look: Look | None
) -> list[Problem]:
    """Return what is wrong between the sections, the wrong fields left out.

    Where the rest is no experiment without them, nothing is said.
    """
    rest = copy.deepcopy(dict(values))
    for location in wrong:
        target: Any = rest
        for part, following in zip(location, [*location[1:], None], strict=True):
            if not isinstance(target, dict) or part not in target:
                break
            if not isinstance(following, str) or not isinstance(target[part], dict):
                del target[part]
                break
            target = target[part]
    try:
        experiment = Experiment.model_validate(rest)
    except ValidationError:
        return []
    listed = problems(experiment) + list(look(experiment) if look is not None else ())
    sections = tuple({path_of(location[:2]) for location in wrong})
    leaves = [re.compile(rf"\b{re.escape(str(location[-1]))}\b") for location in wrong if location]
    return [  # what speaks of a wrong setting speaks of the default in its place
        (path, told)
        for path, told in listed
        if not path.startswith(sections) and not any(leaf.search(told) for leaf in leaves)
    ]


def _failure(origin: str, found: Sequence[Problem]) -> ConfigError:
    unique = list(dict.fromkeys(found))
    noun = "problem" if len(unique) == 1 else "problems"
    lines = [f"  {path}: {text}" if path else f"  {text}" for path, text in unique[:SHOWN]]
    if len(unique) > SHOWN:
        lines.append(f"  and {len(unique) - SHOWN} more.")
    error = ConfigError("\n".join([f"{origin} has {len(unique)} {noun}:", *lines]))
    error.problems = tuple(unique)
    return error


def _headline(text: str) -> str:
    for line in text.splitlines():
        if line.startswith("#") and line.strip("# "):
            return line.strip("# ")
    return ""
