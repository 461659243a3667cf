"""``--shield NAME[:setting=value,...]``."""

from typing import Any

import pytest

from fedsafe.cli.shields import shields_of
from fedsafe.errors import ConfigError, PluginError


@pytest.mark.parametrize(
    ("option", "name", "chosen"),
    [
        ("ignore", "ignore", {}),
        ("ignore:task=add 1, then 2", "ignore", {"task": "add 1, then 2"}),
        ("self-refine:passes=2,format=code", "self-refine", {"passes": 2, "format": "code"}),
        ("secret-prefix:secret=env:WORDS", "secret-prefix", {"secret": "env:WORDS"}),
    ],
)
def test_option_is_a_shield_with_its_settings(
    option: str, name: str, chosen: dict[str, Any]
) -> None:
    (found,) = shields_of([option])
    assert (found.name, found.settings) == (name, chosen)


def test_shields_stay_in_the_order_given() -> None:
    assert [one.name for one in shields_of(["escape", "ignore"])] == ["escape", "ignore"]


def test_secret_is_not_taken_from_the_command_line_nor_repeated() -> None:
    with pytest.raises(ConfigError, match="secret=env:NAME") as caught:
        shields_of(["secret-prefix:secret=velvet"])
    assert "velvet" not in str(caught.value)


def test_unknown_shield_is_a_sentence() -> None:
    with pytest.raises(PluginError, match="Unknown shield 'ignor'"):
        shields_of(["ignor"])
