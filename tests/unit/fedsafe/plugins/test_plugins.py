"""Plug-ins: settings from signatures, mistakes named, others' packages found."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import Field

from fedsafe.errors import ConfigError, PluginError
from fedsafe.plugins import Plugin, Registry, suggestion

if TYPE_CHECKING:
    from nowhere import Absent

Rules = Registry[Callable[..., Any]]


@pytest.fixture
def registry() -> Rules:
    return Registry("rule", "fedsafe.errors", "fedsafe.tests")


def trim(
    updates: "Absent",
    /,
    *,
    share: Annotated[float, Field(ge=0, lt=0.5, description="Share cut off.")] = 0.1,
    size: int,
    names: tuple[str, ...] = ("a",),
) -> Any:
    """Cut the ends off.

    More words.
    """
    return share, size, names


@pytest.fixture
def plugin(registry: Rules) -> Plugin[Callable[..., Any]]:
    registry("trim", paper="Someone, 2024")(trim)
    return registry["trim"]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("someones_rules", None)


def test_schema_has_the_keyword_only_parameters(plugin: Plugin[Any]) -> None:
    assert list(plugin.schema.model_fields) == ["share", "size", "names"]


def test_schema_keeps_descriptions(plugin: Plugin[Any]) -> None:
    assert plugin.schema.model_fields["share"].description == "Share cut off."


def test_annotation_of_data_is_never_read(plugin: Plugin[Any]) -> None:
    assert plugin.resolve({"size": 1})["size"] == 1


def test_summary_is_the_first_sentence(plugin: Plugin[Any]) -> None:
    assert plugin.summary == "Cut the ends off."


def test_resolve_fills_in_defaults(plugin: Plugin[Any]) -> None:
    assert plugin.resolve({"size": 3}) == {"share": 0.1, "size": 3, "names": ("a",)}


def test_configure_binds_checked_settings(plugin: Plugin[Any]) -> None:
    assert plugin.configure({"size": 3, "names": ["x", "y"]})(None) == (0.1, 3, ("x", "y"))


def test_unknown_setting_suggests_the_nearest(plugin: Plugin[Any]) -> None:
    with pytest.raises(ConfigError, match=r"shear: unknown setting .* Did you mean 'share'\?"):
        plugin.resolve({"size": 1, "shear": 0.2})


def test_missing_setting_is_named(plugin: Plugin[Any]) -> None:
    with pytest.raises(ConfigError, match="Rule 'trim' cannot be set up: size: expected a value"):
        plugin.resolve({})


def test_setting_out_of_bounds_is_shown(plugin: Plugin[Any]) -> None:
    with pytest.raises(ConfigError, match=r"share: .*less than 0.5 \(got 0.5\)"):
        plugin.resolve({"size": 1, "share": 0.5})


def test_problems_lists_all_at_once(plugin: Plugin[Any]) -> None:
    found = [name for name, _ in plugin.problems({"share": 2, "shear": 1})]
    assert sorted(found) == ["share", "shear", "size"]


def test_setting_of_a_plugin_without_settings_is_refused(registry: Rules) -> None:
    @registry("bare")
    def bare(updates: object, /) -> None:
        """Do nothing."""

    with pytest.raises(ConfigError, match="Settings: none"):
        registry["bare"].resolve({"any": 1})


def test_two_plugins_of_one_name_are_an_error(registry: Rules) -> None:
    registry("same")(trim)
    with pytest.raises(PluginError, match=r"Two rules are named 'same'.*Rename one"):

        @registry("same")
        def other() -> None:
            """Differ."""


def test_module_imported_again_is_no_duplicate(registry: Rules) -> None:
    registry("same")(trim)
    registry("same")(trim)
    assert list(registry) == ["same"]


@pytest.mark.parametrize(
    ("choice", "settings"), [("trim", {}), ({"name": "trim", "size": 3}, {"size": 3})]
)
def test_choice_is_a_name_alone_or_with_settings(
    choice: Any, settings: dict[str, Any], registry: Rules, plugin: Plugin[Any]
) -> None:
    assert registry.chosen(choice) == (plugin, settings)


@pytest.mark.parametrize("choice", [{}, {"size": 3}, {"name": 3}])
def test_choice_without_a_name_is_a_sentence(
    choice: Any, registry: Rules, plugin: Plugin[Any]
) -> None:
    with pytest.raises(ConfigError, match=r"Every rule needs a name, such as \{name: trim\}"):
        registry.chosen(choice)


def test_unknown_name_suggests_and_lists(registry: Rules) -> None:
    registry("trim")(trim)
    with pytest.raises(PluginError, match=r"Unknown rule 'trm'. Did you mean 'trim'\? Available"):
        registry["trm"]


def test_names_come_sorted(registry: Rules) -> None:
    for name in ("b", "c", "a"):
        registry(name)(trim)
    assert (list(registry), len(registry)) == (["a", "b", "c"], 3)


def test_path_names_a_function_of_someone_else(registry: Rules, module: Path) -> None:
    (module / "someones_rules.py").write_text(
        "def best(updates, /, *, gain: int = 2):\n    '''Take the best.'''\n    return gain\n"
    )
    found = registry["someones_rules:best"]
    assert (found.configure({"gain": 5})(None), found.summary) == (5, "Take the best.")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("no_such_package:x", "was not found"),
        ("fedsafe.errors:nothing", "has no 'nothing'"),
        ("fedsafe:__version__", "is a str, not a function"),
        (":x", "was not found"),
        (".relative:x", "was not found"),
        ("fedsafe.errors:", "has no ''"),
    ],
)
def test_path_that_leads_nowhere_is_a_sentence(registry: Rules, path: str, sentence: str) -> None:
    with pytest.raises(PluginError, match=sentence):
        registry[path]


def test_module_that_needs_an_absent_package_is_a_sentence(registry: Rules, module: Path) -> None:
    (module / "someones_rules.py").write_text("from fedsafe.errors import Nonexistent\n")
    with pytest.raises(PluginError, match=r"someones_rules:x.*Nonexistent"):
        registry["someones_rules:x"]


def test_entry_point_of_an_installed_package_is_found(registry: Rules, module: Path) -> None:
    (module / "someones_rules.py").write_text(
        "def best(updates, /, *, gain: int = 2):\n    '''Take the best.'''\n    return gain\n"
    )
    metadata = module / "someones-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: someones\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[fedsafe.tests]\nbest = someones_rules:best\n")
    assert registry["best"].resolve() == {"gain": 2}


def test_builtins_that_failed_to_import_are_tried_again(module: Path) -> None:
    broken: Rules = Registry("rule", "someones_rules", "fedsafe.tests")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            broken["mean"]


def test_annotation_by_name_is_resolved(registry: Rules, module: Path) -> None:
    (module / "someones_rules.py").write_text(
        "from __future__ import annotations\n"
        "def best(updates: Unknown, /, *, gain: int | None = None):\n    '''Take.'''\n"
    )
    with pytest.raises(ConfigError, match="gain"):
        registry["someones_rules:best"].resolve({"gain": "many"})


@pytest.mark.parametrize(("name", "said"), [("meen", " Did you mean 'mean'?"), ("zzz", "")])
def test_suggestion_speaks_up_for_near_misses_only(name: str, said: str) -> None:
    assert suggestion(name, ["mean", "median"]) == said
