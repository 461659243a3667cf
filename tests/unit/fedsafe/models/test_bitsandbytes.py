"""bitsandbytes is a dependency that loads when a setting asks for it, and not before."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
PROGRAM = """
import sys
from pathlib import Path
from fedsafe.experiment.schema import Adapter, Model, Training
from fedsafe.models.base import load

def layers(**model):
    training = Training(**model.pop("training", {}))
    loaded = load(Model(path=sys.argv[1], device="cpu", **model), Adapter(rank=2), training)
    kinds = {type(m).__module__ for n, m in loaded.model.named_modules() if n.endswith("q_proj")}
    return kinds.pop(), "bitsandbytes" in sys.modules

for asked in sys.argv[2:]:
    print(*layers(**eval(asked)))
"""
PLAIN, NF4, INT8 = "{}", "{'quantization': 'nf4'}", "{'quantization': 'int8'}"
EIGHT = "{'training': {'optimizer': 'adamw-8bit'}}"


def _seen(model: Path, *asked: str) -> list[str]:
    """Return, after each model that one process loads, its LoRA layers' module and what loaded."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(model), *asked],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def seen(llama: Path) -> list[str]:
    return _seen(llama, PLAIN, NF4, INT8, PLAIN)


def test_plain_model_does_not_load_it(seen: list[str]) -> None:
    assert seen[0] == "peft.tuners.lora.layer False"


def test_quantized_models_load_it_also_after_a_plain_one(seen: list[str]) -> None:
    assert seen[1:3] == ["peft.tuners.lora.bnb True"] * 2


def test_plain_model_after_a_quantized_one_has_plain_layers(seen: list[str]) -> None:
    assert seen[3] == "peft.tuners.lora.layer True"


def test_optimizer_of_8_bits_loads_it(llama: Path) -> None:
    assert _seen(llama, EIGHT)[0].endswith("True")
