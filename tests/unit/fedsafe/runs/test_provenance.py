"""With what a run was made."""

import sys

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
