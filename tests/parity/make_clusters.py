"""Make clusters.json: whom the package hdbscan takes for FLAME's majority.

    python -m tests.parity.make_clusters

The package (0.8.44: `pip install hdbscan`) is not needed to run the tests.
"""

import json
from pathlib import Path

import numpy as np

CLUSTERS = Path(__file__).with_name("clusters.json")


def rows_of(seed: int) -> np.ndarray:
    """Return updates of 4 to 24 clients, fewer than half of them attackers."""
    random = np.random.default_rng(seed)
    n, d = int(random.integers(4, 25)), int(random.integers(3, 60))
    f = int(random.integers(0, n // 2))
    rows = random.normal(random.choice([0.0, 0.3, 1.0]), 1.0, (n, d))
    rows[:f] = random.normal(-0.5, random.choice([0.1, 1.0]), (f, d))
    return rows


def cosine_distances(rows: np.ndarray) -> np.ndarray:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    distances = np.clip(1 - unit @ unit.T, 0, None)
    np.fill_diagonal(distances, 0)
    return distances


def main() -> None:
    from hdbscan import HDBSCAN

    answers = {}
    for seed in range(40):
        rows = rows_of(seed)
        clusters = HDBSCAN(
            metric="precomputed",
            algorithm="generic",
            min_cluster_size=len(rows) // 2 + 1,
            min_samples=1,
            allow_single_cluster=True,
        )
        labels = clusters.fit_predict(cosine_distances(rows))
        answers[seed] = np.flatnonzero(labels == 0).tolist()
    CLUSTERS.write_text(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main()
