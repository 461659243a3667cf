"""A Ray address that Flower drops in silence is warned of."""

from pathlib import Path

import pytest

from fedsafe.flower.ray_address import dropped_address

NAMED = """
[superlink.local]
options.num-supernodes = 4
options.backend.init-args.address = "10.0.0.1:6379"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path


def test_dropped_address_is_told_with_what_to_do(home: Path) -> None:
    (home / "config.toml").write_text(NAMED)
    told = dropped_address()
    assert "10.0.0.1:6379" in told
    assert "RAY_ADDRESS" in told


@pytest.mark.parametrize(
    "text", ["", 'a = "b"', "[superlink", NAMED.replace("address", "num-cpus")]
)
def test_nothing_is_said_without_one(home: Path, text: str) -> None:
    (home / "config.toml").write_text(text)
    assert dropped_address() == ""


def test_nothing_is_said_where_the_environment_names_the_cluster(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "config.toml").write_text(NAMED)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert dropped_address() == ""
