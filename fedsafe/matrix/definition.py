"""The file of a matrix: an experiment, axes over its settings, exclusions, a fixed part.

Says what is written, checked by its form. What the cells are is in `cells`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedsafe.errors import ConfigError
from fedsafe.experiment import yaml_text
from fedsafe.experiment.changes import merge
from fedsafe.experiment.load import presets as experiment_presets
from fedsafe.experiment.load import read as read_experiment
from fedsafe.experiment.paths import place
from fedsafe.matrix.axes import Axis, axes_of, settings_of
from fedsafe.matrix.labels import Where, conditions_of, exclusions_of, table_of
from fedsafe.matrix.search_file import Search, search_of
from fedsafe.plugin_modules import search_in
from fedsafe.suggestions import suggestion

PRESETS = Path(__file__).parent / "presets"
KEYS = ("name", "experiment", "set", "axes", "when", "exclude", "search", "table")


@dataclass(frozen=True)
class Definition:
    """What a matrix file says.

    Attributes:
        name: Of the matrix.
        base: Values of the experiment, before any axis.
        fixed: Settings that every cell has, by dotted path.
        axes: In order.
        when: Labels by axis, and settings of the cells that have one of each.
        exclude: Labels by axis; a cell that has one of each is left out.
        table: How it is shown unless told otherwise: rows, columns, measure, stage, where.
        text: The file's text.
        home: Directory of the file; None: a preset.
        search: What it searches for; None: it runs every cell.
    """

    name: str
    base: Mapping[str, Any]
    fixed: Mapping[str, Any]
    axes: Sequence[Axis]
    when: Sequence[tuple[Where, Mapping[str, Any]]] = ()
    exclude: Sequence[Where] = ()
    table: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    home: Path | None = None
    search: Search | None = None


def presets() -> dict[str, str]:
    """Return each matrix preset's name and the first line of its header."""
    return {
        path.stem: path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        for path in sorted(PRESETS.glob("*.yaml"))
    }


def read(reference: str | Path) -> Definition:
    """Return the matrix of a YAML file or of a preset.

    Raises:
        ConfigError: The file cannot be read, or anything in it is wrong.
    """
    path = Path(reference).expanduser()
    if str(reference) in presets() and not path.is_file():
        path, home = PRESETS / f"{reference}.yaml", None
    elif not path.is_file():
        known = list(presets())
        raise ConfigError(
            f"There is no matrix file at {path}.{suggestion(str(reference), known)} Give a file, "
            f"or one of the presets: {', '.join(known)}."
        )
    else:
        home = path.parent
        search_in(home)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from None
    values, found = yaml_text.parse(text, str(path))
    if found:
        raise ConfigError(f"{path}: {found[0][0]}: {found[0][1]}")
    try:
        return parse(values, home, default_name=path.stem, text=text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse(
    values: Any, home: Path | None = None, *, default_name: str = "matrix", text: str = ""
) -> Definition:
    """Return the matrix of these values.

    Args:
        values: As YAML has them.
        home: Directory that paths are relative to.
        default_name: Name of a matrix that gives none.
        text: The file's text.

    Raises:
        ConfigError: Anything is wrong.
    """
    if not isinstance(values, Mapping):
        raise ConfigError("a matrix is a mapping with `experiment:` and `axes:`.")
    for key in values:
        if key not in KEYS:
            hint = suggestion(str(key), KEYS)
            raise ConfigError(f"{key}: unknown key.{hint} Known here: {', '.join(KEYS)}.")
    base = _base(values.get("experiment", "micro"), home)
    axes = tuple(axes_of(values.get("axes"), base, home))
    sought = values.get("search")
    return Definition(
        name=_name(values.get("name", default_name)),
        base=base,
        fixed=dict(settings_of("set", values.get("set") or {}, home)),
        axes=axes,
        when=tuple(conditions_of(values.get("when") or (), axes, home)),
        exclude=tuple(exclusions_of(values.get("exclude") or (), axes)),
        table=table_of(values.get("table") or {}, axes),
        text=text,
        home=home,
        search=None if sought is None else search_of(sought, axes, base, home),
    )


def _name(name: Any) -> str:
    plain = isinstance(name, str) and name.replace("-", "").replace("_", "").replace(".", "")
    if not plain or not plain.isalnum() or not name[0].isalnum() or len(name) > 60:
        raise ConfigError(f"name: {name!r} is no name. Write letters, digits, - and _, at most 60.")
    return str(name)


def _base(experiment: Any, home: Path | None) -> dict[str, Any]:
    """Return the values of the experiment that a matrix begins with."""
    if isinstance(experiment, Mapping):
        given = dict(experiment)
        below = given.pop("preset", None)
        if home is not None:
            place(given, home)
        return merge(_base(below, home), given) if below is not None else given
    if not isinstance(experiment, str) or not experiment:
        raise ConfigError("experiment: write a preset's name, a file, or settings.")
    beside = home is not None and experiment not in experiment_presets()
    values, found = read_experiment(home / experiment if beside and home else experiment)
    if found:
        raise ConfigError(f"experiment: {found[0][0]}: {found[0][1]}")
    return values
