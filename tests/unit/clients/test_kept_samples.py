"""Malicious samples are written once for processes that share a directory."""

from pathlib import Path

import pytest

from clients.kept_samples import VARIABLE, Made, made_once
from fedsafe.contracts import Sample
from fedsafe.experiment.schema import PluginChoice
from fedsafe.matrix.work import MADE_SAMPLES

WRITER = PluginChoice(name="self-written", ask="a", steer="{request}")


class Writer:
    """Counts how often it writes."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Made:
        self.times += 1
        return [Sample("ask", "answer", origin="attack")], 1, 2


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "samples"))
    return tmp_path / "samples"


def test_samples_are_written_once(home: Path) -> None:
    writer = Writer()
    assert made_once("key", WRITER, writer) == made_once("key", WRITER, writer) == writer()
    assert writer.times == 2  # the last by this test itself


def test_damaged_samples_are_written_again(home: Path) -> None:
    writer = Writer()
    made_once("key", WRITER, writer)
    for path in home.glob("*.json"):
        path.write_text(path.read_text().replace("answer", "another"))
    assert made_once("key", WRITER, writer)[0][0].response == "answer"
    assert writer.times == 2


@pytest.mark.parametrize(
    "choice",
    [PluginChoice(name="file", path="/a.jsonl"), PluginChoice(name="my_module:make")],
)
def test_samples_that_the_key_does_not_tell_of_are_not_kept(
    choice: PluginChoice, home: Path
) -> None:
    writer = Writer()
    made_once("key", choice, writer)
    made_once("key", choice, writer)
    assert (writer.times, home.exists()) == (2, False)


def test_nothing_is_kept_without_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    writer = Writer()
    made_once("key", WRITER, writer)
    made_once("key", WRITER, writer)
    assert writer.times == 2


def test_matrix_names_the_same_variable() -> None:
    assert MADE_SAMPLES == VARIABLE
