"""Make golden.json: what other packages answer on fixed inputs.

    python -m tests.parity.make_golden BYZFL REFERENCE

BYZFL is a folder with the unpacked byzfl wheel (0.0.11: `pip download --no-deps byzfl`),
REFERENCE one with a module `fed_global_functions` holding the reference system's
get_krum, get_foolsgold, irls (its IRLS_aggregation_split_restricted on one flat tensor)
and do_dnc (on all coordinates). Neither is needed to run the tests.
"""

import importlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).with_name("golden.json")
CASES = ((7, 1, 5, 0), (9, 2, 6, 1), (11, 2, 4, 2), (12, 3, 5, 3))
"""(n, f, d, seed): n odd and even, all at least 2f + 3."""


def rows_of(n: int, f: int, d: int, seed: int) -> np.ndarray:
    """Honest rows about 0.5, and f attackers further out."""
    random = np.random.default_rng(seed)
    rows = random.normal(0.5, 1.0, (n, d))
    rows[:f] = random.normal(-3.0, 2.0, (f, d))
    return rows.astype(np.float32)


def byzfl(folder: str, rows: np.ndarray, f: int) -> dict[str, list]:
    package = types.ModuleType("byzfl")  # its own __init__ wants torchvision
    package.__path__ = [str(Path(folder) / "byzfl")]
    sys.modules["byzfl"] = package
    rules = importlib.import_module("byzfl.aggregators.aggregators")
    filters = importlib.import_module("byzfl.aggregators.preaggregators")
    wide = rows.astype(np.float64)
    made = {
        "mean": rules.Average()(wide),
        "median": rules.Median()(wide),
        "trimmed-mean": rules.TrMean(f)(wide),
        "geometric-median": rules.GeometricMedian(nu=1e-12, T=20_000)(wide),
        "krum": rules.Krum(f)(wide),
        "multi-krum": rules.MultiKrum(f)(wide),
        "centered-clipping": rules.CenteredClipping(L=3, tau=2.0)(wide),
        "mda": rules.MDA(f)(wide),
        "meamed": rules.Meamed(f)(wide),
        "nnm": filters.NNM(f)(wide),
        "arc": filters.ARC(f)(wide.copy()),
        "clip": filters.Clipping(2.0)(wide.copy()),
    }
    return {name: np.asarray(value).tolist() for name, value in made.items()}


def reference(folder: str, rows: np.ndarray, f: int) -> dict[str, list]:
    sys.path.insert(0, folder)
    theirs = importlib.import_module("fed_global_functions")
    tensor = torch.from_numpy(rows)
    made = {
        "reference-krum": theirs.get_krum(tensor, f).flatten(),
        "reference-median": tensor.median(dim=0).values,
        "reference-trimmed-mean": tensor.sort(dim=0).values[1:-1].mean(dim=0),
        "reference-foolsgold": theirs.get_foolsgold(tensor, torch.zeros(tensor.shape[1]))[0],
        "reference-residual": theirs.irls(tensor)[0],
        "reference-dnc": theirs.do_dnc(tensor, f),
    }
    return {name: value.tolist() for name, value in made.items()}


def main(byzfl_folder: str, reference_folder: str) -> None:
    cases = []
    for n, f, d, seed in CASES:
        rows = rows_of(n, f, d, seed)
        answers = {
            "byzfl": byzfl(byzfl_folder, rows, f),
            "reference": reference(reference_folder, rows, f),
        }
        cases.append({"f": f, "rows": rows.tolist(), **answers})
    GOLDEN.write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
