"""Settings are checked in a blink: no model library, no Flower, until work begins."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "peft", "flwr", "datasets", "bitsandbytes", "sklearn", "plotly")
SAY = f"\nimport sys\nprint(*sorted(set(sys.modules) & set({HEAVY!r})))"
STEPS = {
    "the command line": "from fedsafe.cli import main",
    "every preset": (
        "import fedsafe.cli\n"
        "from fedsafe.experiment import load, presets\n"
        "for name in presets(): load(name)"
    ),
    "every plug-in": (
        "from fedsafe.contracts import REGISTRIES\n"
        "for registry in REGISTRIES.values():\n"
        "    for name in registry: registry[name].schema, registry[name].summary"
    ),
    "the package": "import fedsafe",
}


@pytest.mark.parametrize("step", STEPS)
def test_nothing_heavy_is_imported_by(step: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STEPS[step] + SAY],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
