"""Manifests of hashes: what is written verifies, and every change is found."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from fedsafe.data.manifest import read_manifest, verify, write_manifest
from fedsafe.errors import DataError

SHA = hashlib.sha256(b"one").hexdigest()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "sub").mkdir()
    found = [tmp_path / "a b.csv", tmp_path / "sub" / "c\\d.json"]
    for path in found:
        path.write_bytes(b"one")
    return found


def states(manifest: Path) -> list[str]:
    return [one.state for one in verify(manifest)]


@pytest.mark.parametrize("name", ["m.json", "m.yaml", "SHA256SUMS"])
def test_what_is_written_verifies(tmp_path: Path, files: list[Path], name: str) -> None:
    write_manifest(files, tmp_path / name)
    assert states(tmp_path / name) == ["ok", "ok"]


@pytest.mark.parametrize("name", ["m.json", "m.yaml", "SHA256SUMS"])
def test_a_changed_and_a_missing_file_are_found(
    tmp_path: Path, files: list[Path], name: str
) -> None:
    write_manifest(files, tmp_path / name)
    files[0].write_bytes(b"two")
    files[1].unlink()
    assert states(tmp_path / name) == ["changed", "missing"]


def test_sha256sum_reads_ours(tmp_path: Path, files: list[Path]) -> None:
    write_manifest(files, tmp_path / "sums.txt")
    subprocess.run(["sha256sum", "--check", "--strict", "sums.txt"], cwd=tmp_path, check=True)


@pytest.mark.parametrize("options", [[], ["--tag"], ["--binary"]])
def test_we_read_those_of_sha256sum(tmp_path: Path, files: list[Path], options: list[str]) -> None:
    names = [str(path.relative_to(tmp_path)) for path in files]
    done = subprocess.run(
        ["sha256sum", *options, *names], cwd=tmp_path, check=True, capture_output=True
    )
    (tmp_path / "sums").write_bytes(done.stdout)
    assert states(tmp_path / "sums") == ["ok", "ok"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.json", json.dumps({"a b.csv": SHA})),
        ("m.json", json.dumps([{"file": "a b.csv", "SHA256": SHA.upper()}])),
        ("m.yml", yaml.safe_dump({"files": {"a b.csv": {"sha256": SHA, "licence": "MIT"}}})),
        ("m.tsv", f"path\tsha256\tlicence\na b.csv\t{SHA}\tMIT\n"),
        ("m.sums", f"# ours\n\n{SHA}  a b.csv\n"),
    ],
)
@pytest.mark.usefixtures("files")
def test_other_usual_forms_are_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert states(tmp_path / name) == ["ok"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("m.sums", f"{SHA}  a\nabc  b\n", "line 2: expected 64 hexadecimal digits, two spaces"),
        ("m.sums", "\n", "names no file"),
        ("m.json", '{"files": [\n{"path": }]}', "line 2: expected JSON"),
        ("m.json", '{"files": [{"sha256": "x"}]}', "entry 1: expected a field 'path'"),
        ("m.json", '{"files": {"a": "xyz"}}', "'a': expected 64 hexadecimal digits.*'xyz'"),
        ("m.json", "3", "expected paths with hashes"),
        ("m.yaml", "files: [\n  a: b: c", "line 2: expected YAML"),
        ("m.csv", f"name,hash\na,{SHA}\n", "line 2: expected 64 hexadecimal digits in field"),
        ("m.sums", f"{SHA}  a\n{'0' * 64}  a\n", "line 2: 'a' has another hash at .*line 1"),
    ],
)
def test_a_broken_manifest_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        read_manifest(tmp_path / name)
    assert name in str(caught.value)


def test_a_file_that_is_not_there_cannot_be_put_into_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: expected a file, got nothing"):
        write_manifest([tmp_path / "none.csv"], tmp_path / "m.json")
