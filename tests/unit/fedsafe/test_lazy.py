"""Heavy packages load when they are first used."""

import subprocess
import sys


def test_torch_loads_at_its_first_use() -> None:
    code = (
        "import sys; from fedsafe.lazy import torch\n"
        "before = 'torch' in sys.modules\n"
        "torch.zeros(1)\n"
        "print(before, 'torch' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert found.split() == ["False", "True"]


def test_lazy_torch_is_torch() -> None:
    import torch as real

    from fedsafe.lazy import torch

    assert torch.float32 is real.float32
