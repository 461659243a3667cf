"""`fedsafe export --to jsonl|csv|parquet`: the frames of `read_run`, without their texts."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from fedsafe import read_run
from fedsafe.cli import main

READ: dict[str, Callable[[Path], pd.DataFrame]] = {
    "jsonl": lambda path: pd.read_json(path, lines=True),
    "csv": pd.read_csv,
    "parquet": pd.read_parquet,
}
FRAMES = ("stages", "rounds", "clients", "exchanges")


@pytest.fixture(params=sorted(READ))
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def texts(finished: Path) -> list[str]:
    """Every prompt and every reply that is long enough to be no accident."""
    found = read_run(finished).exchanges
    return [text for name in ("instruction", "reply") for text in found[name] if len(text) > 12]


def test_files_hold_the_frames(finished: Path, tmp_path: Path, form: str) -> None:
    assert main(["export", str(finished), "--to", form, "-o", str(tmp_path / "out")]) == 0
    expected = read_run(finished)
    found = {name: READ[form](tmp_path / "out" / f"{name}.{form}") for name in FRAMES}
    for name in FRAMES:
        assert len(found[name]) == len(getattr(expected, name)) > 0
    pd.testing.assert_series_equal(
        found["clients"]["loss"], expected.clients["loss"], check_exact=False
    )
    assert list(found["exchanges"]["outcome"]) == list(expected.exchanges["outcome"])


def test_texts_are_withheld(finished: Path, tmp_path: Path, form: str, texts: list[str]) -> None:
    main(["export", str(finished), "--to", form, "-o", str(tmp_path / "out")])
    contents = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert texts
    assert not [text for text in texts if text.encode() in contents]
    exchanges = READ[form](tmp_path / "out" / f"exchanges.{form}")
    lengths = read_run(finished).exchanges["reply"].str.len()
    assert list(exchanges["reply_characters"]) == list(lengths)


def test_texts_are_revealed_when_asked(finished: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    main(["export", str(finished), "--to", form, "-o", str(out), "--reveal"])
    found = READ[form](out / f"exchanges.{form}")
    assert list(found["instruction"]) == list(read_run(finished).exchanges["instruction"])


def test_default_place_is_in_the_run_and_files_are_private(copied: Path) -> None:
    assert main(["export", str(copied), "--to", "csv"]) == 0
    files = sorted((copied / "exports" / "csv").iterdir())
    assert [path.name for path in files] == [f"{name}.csv" for name in sorted(FRAMES)]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_an_export_leaves_other_files_of_its_directory(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("mine")
    assert main(["export", str(finished), "--to", "csv", "-o", str(tmp_path)]) == 0
    assert (tmp_path / "mine.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "parket"], "--to parket: there is no such form. Did you mean 'parquet'?"),
        (["--to", "csv", "-o", "taken"], "taken is a file. Choose a directory with -o."),
        (["--to", "tensorboard", "--reveal"], "tensorboard gets numbers and settings alone"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    assert main(["export", str(finished), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_directory_without_a_run_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path / "nothing"), "--to", "jsonl"]) == 1
    assert "is no run directory: it does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["exchanges.jsonl", "verdicts/*.jsonl"])
@pytest.mark.parametrize("text", [None, '{"id": "x"\n'])
def test_replies_or_verdicts_that_are_broken_are_a_sentence(
    copied: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None
) -> None:
    for path in copied.glob(f"evaluations/*/{name}"):
        path.unlink() if text is None else path.write_text(text)
    assert main(["export", str(copied), "--to", "csv"]) == 1
    assert "valuat" in capsys.readouterr().err
