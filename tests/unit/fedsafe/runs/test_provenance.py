"""With what a run was made."""

import subprocess
import sys
from pathlib import Path

import pytest

from fedsafe.runs import provenance


def test_provenance_names_versions_and_machine() -> None:
    found = provenance.observe(model="ab", data={"micro": "cd"}, runtime="inline", gpus=[])
    assert found.packages["torch"]
    assert (found.python, found.cores > 0, found.memory_gib > 0) == (
        sys.version.split()[0],
        True,
        True,
    )


def test_package_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGES", ("torch", "no-such-package"))
    found = provenance.observe(model="", data={}, runtime="inline", gpus=[])
    assert list(found.packages) == ["torch"]


def test_commit_of_a_checkout_is_told_with_a_plus_where_files_differ(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        named = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *named, *arguments],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    assert provenance.commit(tmp_path) == ""
    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-qm", "first")
    head = git("rev-parse", "HEAD")
    assert provenance.commit(tmp_path) == head
    (tmp_path / "file").write_text("two")
    assert provenance.commit(tmp_path) == f"{head}+"
