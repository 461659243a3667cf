"""Every plug-in of every kind says what it does and what each setting means."""

import inspect

import pytest

from fedsafe.contracts import REGISTRIES
from fedsafe.plugins.defense_card import BADGES, NEEDS

ALL = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry]
IDS = [f"{kind}-{name}" for kind, name in ALL]
every = pytest.mark.parametrize(("kind", "name"), ALL, ids=IDS)


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_kind_has_a_plugin(kind: str) -> None:
    assert len(REGISTRIES[kind]) > 0


@every
def test_plugin_has_a_summary(kind: str, name: str) -> None:
    summary = REGISTRIES[kind][name].summary
    assert summary.endswith(".")
    assert summary[0].isupper()


@every
def test_settings_are_described(kind: str, name: str) -> None:
    plugin = REGISTRIES[kind][name]
    bare = [
        setting
        for setting, field in plugin.schema.model_fields.items()
        if not field.description and setting not in plugin.description
    ]
    assert not [setting for setting in bare if setting not in OBVIOUS]


OBVIOUS = frozenset({"steps", "batch_size", "learning_rate", "temperature", "pairs", "share"})
"""Settings whose names say all there is to say."""


@every
def test_settings_are_typed(kind: str, name: str) -> None:
    plugin = REGISTRIES[kind][name]
    parameters = inspect.signature(plugin.function).parameters
    assert all(parameters[setting].annotation for setting in plugin.schema.model_fields)


@every
def test_defaults_pass_their_own_checks(kind: str, name: str) -> None:
    plugin = REGISTRIES[kind][name]
    fields = plugin.schema.model_fields
    required = {name for name, field in fields.items() if field.is_required()}
    assert {name for name, _ in plugin.problems({})} == required
    defaults = {n: f.default for n, f in fields.items() if not f.is_required()}
    assert {name for name, _ in plugin.problems(defaults)} == required


@every
def test_name_is_kebab_case(kind: str, name: str) -> None:
    assert name == name.lower().replace("_", "-").replace(" ", "-")


@every
def test_smallest_cohort_can_be_told_from_the_defaults(kind: str, name: str) -> None:
    plugin = REGISTRIES[kind][name]
    if plugin.minimum is not None:
        assert plugin.minimum(**plugin.resolve()) >= 1


@pytest.mark.parametrize("name", list(REGISTRIES["defense"]))
def test_defense_carries_a_badge(name: str) -> None:
    assert REGISTRIES["defense"][name].badge.startswith(BADGES)


@pytest.mark.parametrize("name", list(REGISTRIES["defense"]))
def test_defense_says_what_it_claims_needs_and_costs(name: str) -> None:
    card = REGISTRIES["defense"][name].card
    assert card is not None
    assert card.claim.endswith(".")
    assert card.cost
    assert set(card.needs) <= set(NEEDS)
