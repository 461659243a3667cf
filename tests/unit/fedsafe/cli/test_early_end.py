"""A start that ends early leaves a directory that the same command can use, whatever ended it."""

import shutil
import textwrap
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from fedsafe.cli import main
from fedsafe.experiment import Experiment
from fedsafe.experiment.load import as_yaml, load
from fedsafe.runs.store import Store
from tests.doubles.disks import full_disk

Capture = pytest.CaptureFixture[str]
COMMAND = ["run", "my.yaml", "-o", "out"]
SOURCE = '''
from pathlib import Path
from fedsafe.contracts import Sample

def rows(seed, /):
    """Stop as long as a file says so."""
    said = Path("stop").read_text() if Path("stop").exists() else ""
    if said == "interrupt":
        raise KeyboardInterrupt
    if said == "mistake":
        raise ZeroDivisionError("in somebody's code")
    return [Sample(f"say {word}", word) for word in "abcdefgh"]
'''


@pytest.fixture
def place(
    experiment: Experiment, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A directory with a tiny experiment, a module with its data, and a model."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(llama, "model")
    Path("early_end_source.py").write_text(textwrap.dedent(SOURCE))
    seed = zlib.crc32(str(tmp_path).encode())  # data are read anew, and not remembered
    changes = ["data.source=early_end_source:rows", f"seed={seed}"]
    values = load(experiment.model_dump(mode="json"), changes)
    text = as_yaml(values).replace(str(llama), "./model")
    Path("my.yaml").write_text(text.replace("rounds: 2", "rounds: 1"))
    return tmp_path


@contextmanager
def broken_model() -> Iterator[None]:
    Path("model/config.json").rename("model/away")
    yield
    Path("model/away").rename("model/config.json")


@contextmanager
def stopped(how: str) -> Iterator[None]:
    Path("stop").write_text(how)
    yield
    Path("stop").unlink()


ENDS: dict[str, tuple[Callable[[], AbstractContextManager[None]], int]] = {
    "interrupted": (lambda: stopped("interrupt"), 130),
    "mistake in a plug-in": (lambda: stopped("mistake"), 1),
    "model missing": (broken_model, 1),
    "disk full": (lambda: full_disk(0), 1),
    "disk nearly full": (lambda: full_disk(900), 1),
}


@pytest.mark.parametrize(
    ("end", "again"), [*((end, []) for end in ENDS), ("interrupted", ["--overwrite"])]
)
def test_same_command_works_after_an_early_end(
    end: str, again: list[str], place: Path, capsys: Capture
) -> None:
    trouble, code = ENDS[end]
    with trouble():
        assert main(COMMAND) == code
    assert main([*COMMAND, *again]) == 0
    summary = Store(place / "out").summary()
    assert summary is not None
    assert summary.status == "completed"


def test_interrupt_before_the_run_began_names_the_same_command(
    place: Path, capsys: Capture
) -> None:
    with stopped("interrupt"):
        main(COMMAND)
        told = capsys.readouterr().err
        assert "nothing was begun. Give the same command again." in told
        assert "resume" not in told
        assert main(["resume", "out"]) == 1
    assert "no run has begun in it" in capsys.readouterr().err


@pytest.mark.parametrize("left", [".lock", "events.jsonl", "report.html", ".clients"])
def test_what_an_early_end_leaves_is_no_run(left: str, tmp_path: Path) -> None:
    (tmp_path / left).write_text("")
    assert Store(tmp_path).vacant


def test_directory_with_files_of_the_user_is_kept(place: Path, capsys: Capture) -> None:
    Path("out").mkdir()
    Path("out/thesis.tex").write_text("mine")
    assert main(COMMAND) == 1
    assert "not empty and holds no run" in capsys.readouterr().err
