"""The fingerprint of a model on disk: what it covers, and what it does not."""

import json
import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from fedsafe.models.files import cache_directory, fingerprint


@pytest.fixture
def copy(llama: Path, tmp_path: Path) -> Path:
    return shutil.copytree(llama, tmp_path / "copy")


def test_copy_has_the_same_fingerprint(llama: Path, copy: Path) -> None:
    assert fingerprint(copy) == fingerprint(llama)


def test_one_changed_weight_changes_the_fingerprint(llama: Path, copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    weights["model.norm.weight"][0] += 1e-3
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert fingerprint(copy) != fingerprint(llama)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_changed_settings_change_the_fingerprint(name: str, llama: Path, copy: Path) -> None:
    values = json.loads((copy / name).read_text(encoding="utf-8"))
    (copy / name).write_text(json.dumps({**values, "extra": 1}), encoding="utf-8")
    assert fingerprint(copy) != fingerprint(llama)


def test_chat_template_in_its_own_file_is_covered(copy: Path) -> None:
    before = fingerprint(copy)
    (copy / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    assert fingerprint(copy) != before


def test_readme_is_not_covered(copy: Path) -> None:
    before = fingerprint(copy)
    (copy / "README.md").write_text("words", encoding="utf-8")
    assert fingerprint(copy) == before


def test_rewritten_file_of_the_same_size_and_a_later_time_is_read_again(copy: Path) -> None:
    path = copy / "big.safetensors"
    for byte in (b"a", b"b"):
        with path.open("wb") as file:
            file.truncate(2**26 + 1)
            file.write(byte)
        os.utime(path, ns=(ord(byte), ord(byte)))
        found = fingerprint(copy)
        if byte == b"a":
            first = found
    assert found != first


def test_digest_of_a_large_file_is_remembered(copy: Path) -> None:
    with (copy / "big.safetensors").open("wb") as file:
        file.truncate(2**26 + 1)
    before = set((cache_directory() / "digests").glob("*"))
    one, other = fingerprint(copy), fingerprint(copy)
    after = set((cache_directory() / "digests").glob("*"))
    assert (one == other, len(after - before)) == (True, 1)


def test_where_nothing_can_be_remembered_it_is_read_again(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (copy / "big.safetensors").open("wb") as file:
        file.truncate(2**26 + 1)
    before = fingerprint(copy)
    (copy / "file").touch()
    monkeypatch.setenv("FEDSAFE_CACHE", str(copy / "file" / "cache"))
    assert fingerprint(copy) == before
