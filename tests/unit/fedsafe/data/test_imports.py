import subprocess
import sys

import pytest

MODULES = [
    "fedsafe.data.sources",
    "fedsafe.data.templates",
    "fedsafe.data.partition",
    "fedsafe.data.batches",
    "fedsafe.data.dedup",
    "fedsafe.evaluation.suites",
    "fedsafe.evaluation.judges",
    "fedsafe.evaluation.measures",
]
HEAVY = {"torch", "transformers", "datasets", "numpy", "pyarrow", "sklearn"}


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_nothing_heavy(module):
    code = f"import sys, {module}; print(*{HEAVY!r}.intersection(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
