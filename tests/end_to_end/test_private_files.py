"""What a run leaves is for its owner alone: texts are not redacted, and it says who attacked."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedsafe.launch import inline
from fedsafe.report import page
from tests.end_to_end.conftest import tiny

pytestmark = pytest.mark.slow


def open_to_others(directory: Path) -> list[str]:
    """Return what others than the owner may look into."""
    found = [directory, *directory.rglob("*")]
    return [
        f"{path.relative_to(directory)} {stat.S_IMODE(path.stat().st_mode):o}"
        for path in found
        if path.stat().st_mode & 0o077
    ]


@pytest.fixture
def usual_mask() -> Iterator[None]:
    """The mask that most systems give their users: others may read."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("usual_mask")
@pytest.mark.parametrize("there", [False, True], ids=["new", "there already"])
def test_a_run_directory_is_for_its_owner_alone(tmp_path: Path, there: bool) -> None:
    directory = tmp_path / "runs" / "tiny"
    if there:
        directory.mkdir(parents=True)
    inline.run(tiny(), directory)
    page.write(directory)
    assert open_to_others(directory) == []


@pytest.mark.usefixtures("usual_mask")
def test_what_an_older_version_left_open_is_closed_at_the_top(tmp_path: Path) -> None:
    directory = tmp_path / "tiny"
    inline.run(tiny(), directory)
    directory.chmod(0o755)
    inline.run(tiny(), directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
