"""The fingerprint of a model on disk: what it covers, and what it does not."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def test_changed_configuration_changes_the_fingerprint(llama: Path, copy: Path) -> None:
    values = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    (copy / "config.json").write_text(json.dumps({**values, "extra": 1}), encoding="utf-8")
    assert fingerprint(copy) != fingerprint(llama)


def test_same_tokenizer_written_another_way_has_the_same_fingerprint(
    llama: Path, copy: Path
) -> None:
    path = copy / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=4))
    assert fingerprint(copy) == fingerprint(llama)


def _changed(copy: Path, change: Callable[[dict[str, Any]], None]) -> str:
    path = copy / "tokenizer.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    return fingerprint(copy)


def test_fewer_merges_change_the_fingerprint(llama: Path, copy: Path) -> None:
    found = _changed(copy, lambda values: values["model"]["merges"].__delitem__(slice(20, None)))
    assert found != fingerprint(llama)


def test_another_normalizer_changes_the_fingerprint(llama: Path, copy: Path) -> None:
    found = _changed(copy, lambda values: values.update(normalizer={"type": "Lowercase"}))
    assert found != fingerprint(llama)


def test_merges_in_a_file_of_their_own_are_covered(copy: Path) -> None:
    model = json.loads((copy / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (copy / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    (copy / "tokenizer.json").unlink()
    settings = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "</s>"}
    (copy / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    merges = [one if isinstance(one, str) else " ".join(one) for one in model["merges"]]
    found = set()
    for some in (merges, merges[:20]):
        (copy / "merges.txt").write_text("#version: 0.2\n" + "\n".join(some) + "\n")
        found.add(fingerprint(copy))
    assert len(found) == 2


def test_another_end_of_sequence_changes_the_fingerprint(llama: Path, copy: Path) -> None:
    path = copy / "tokenizer_config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**values, "eos_token": "<pad>"}), encoding="utf-8")
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
