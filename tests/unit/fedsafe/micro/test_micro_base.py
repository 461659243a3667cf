"""The micro base: the same ordinary Hugging Face directory everywhere."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fedsafe.errors import ModelError
from fedsafe.micro import base, gates

MICRO = "63d74436bce89c6c"
"""Beginning of the fingerprint of the base that ``micro`` names."""
QUESTIONS, FEWER = 40, 20
"""Of each kind, on bases of seed 0 and on others; `python -m fedsafe.micro.build` asks 200."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(base.CACHE_VARIABLE, str(tmp_path))
    return tmp_path


def test_files_are_the_same_bytes_everywhere(cache: Path) -> None:
    directory = base.model_directory()
    digest = hashlib.sha256()
    for path in sorted(directory.iterdir()):
        content = hashlib.sha256(path.read_bytes()).digest()
        digest.update(path.name.encode() + b"\0" + content)
    assert digest.hexdigest() == base.fingerprint()
    assert directory == cache / f"micro-{base.fingerprint()[:8]}"


def test_many_writers_leave_one_directory(cache: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: base.model_directory(), range(16)))
    assert [*cache.iterdir()] == [*found]


def test_damaged_copy_is_replaced(cache: Path) -> None:
    weights = base.model_directory() / "model.safetensors"
    intact = weights.read_bytes()
    weights.write_bytes(b"damaged")
    base.model_directory()
    assert weights.read_bytes() == intact
    assert len([*cache.iterdir()]) == 1


def test_a_cache_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(base.CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelError, match=r"file/cache cannot be written: .* Set FEDSAFE_CACHE"):
        base.model_directory()


def test_base_file_fits_a_flower_bundle() -> None:
    assert base.BASE_FILE.suffix == ".json"
    assert base.BASE_FILE.stat().st_size < 1_500_000


@pytest.mark.parametrize("name", base.shipped())
def test_every_base_is_a_model_of_its_own(name: str, cache: Path) -> None:
    others = {base.fingerprint(other) for other in base.shipped() if other != name}
    assert base.fingerprint(name) not in others
    assert (base.model_directory(name) / "model.safetensors").is_file()
    assert base.base_file(name).stat().st_size < 1_500_000


def test_micro_is_the_shallow_base_of_seed_0() -> None:
    assert base.fingerprint("micro:0") == base.fingerprint("micro") == base.fingerprint()
    assert base.fingerprint().startswith(MICRO)


def test_a_base_that_is_not_shipped_is_named() -> None:
    with pytest.raises(ModelError, match=r"'micro:77' is not shipped\. Use one of micro, micro:1"):
        base.model_directory("micro:77")


@pytest.mark.parametrize("name", ["micro-", "micro:", "micro:x", "micro-deeper", "./micro", ""])
def test_other_names_are_no_embedded_base(name: str) -> None:
    assert not base.is_embedded(name)
    with pytest.raises(ModelError, match="names no micro base"):
        base.base_file(name)


@pytest.mark.parametrize("name", base.shipped())
def test_gates_hold(name: str, cache: Path) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base.model_directory(name))
    assert model.dtype == torch.float32
    count = FEWER if ":" in name else QUESTIONS
    measured = gates.measure(model, count)
    slack = 100 / count + 0.01  # so few questions let one more through
    assert not gates.failures(name, measured, slack)


def test_weights_are_what_was_rounded() -> None:
    torch = pytest.importorskip("torch")
    from fedsafe.micro import weights

    torch.manual_seed(0)
    for weight in (torch.randn(5, 7), torch.randn(9), torch.zeros(2, 3)):
        found = weights.unpacked(weights.packed(weight))
        assert found.shape == weight.shape
        assert torch.allclose(found, weight, atol=weight.abs().max().item() / 100)
        assert torch.equal(weights.unpacked(weights.packed(found)), found) or weight.ndim == 2


def test_tokenizer_is_the_one_the_world_makes(cache: Path) -> None:
    pytest.importorskip("transformers")
    from transformers import AutoTokenizer

    from fedsafe.micro.tokenizer import new_tokenizer

    loaded = AutoTokenizer.from_pretrained(base.model_directory())
    fresh = new_tokenizer()
    assert loaded.get_vocab() == fresh.get_vocab()
    assert loaded.chat_template == fresh.chat_template
    text = "hello , how do i paint the apple ?"
    assert loaded.decode(loaded(text)["input_ids"]) == text
    assert loaded.unk_token_id not in loaded(text)["input_ids"]
