"""Addresses of storage services are no directories."""

from pathlib import Path

import pytest

from fedsafe.cli import main
from fedsafe.errors import ConfigError
from fedsafe.runs.addresses import check_local


@pytest.mark.parametrize("address", ["s3://bucket/study", "gs://b", "abfs://c@a.net/x"])
def test_address_is_told_as_it_was_written(address: str) -> None:
    with pytest.raises(ConfigError, match=f"^{address} is an address"):
        check_local(Path(address))


@pytest.mark.parametrize("path", ["runs/a", "/data/s3:/x", "C:/runs", "a:b", "."])
def test_path_is_none(path: str) -> None:
    check_local(Path(path))


@pytest.mark.parametrize(
    "command", [["run", "micro-quick"], ["matrix", "run", "micro-curve"]], ids=" ".join
)
def test_command_with_an_address_writes_nothing(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, "-o", "s3://bucket/x"]) == 2
    assert capsys.readouterr().err.startswith("error: s3://bucket/x is an address")
    assert not list(tmp_path.iterdir())
