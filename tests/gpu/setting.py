"""One comparison: which model, which data, how much work; the same for every way of doing it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

SIZES = {
    "tiny": {"hidden": 128, "inner": 352, "layers": 4, "heads": 4, "kv": 4, "vocabulary": 2048},
    "small": {"hidden": 512, "inner": 1408, "layers": 8, "heads": 8, "kv": 8, "vocabulary": 8192},
    "1b": {"hidden": 2048, "inner": 5632, "layers": 22, "heads": 32, "kv": 4, "vocabulary": 32000},
    "7b": {"hidden": 4096, "inner": 11008, "layers": 32, "heads": 32, "kv": 32,
           "vocabulary": 32000},
}  # fmt: skip
"""Shapes of Llamas; 1b is TinyLlama's, 7b is Llama 2's."""


@dataclass(frozen=True)
class Setting:
    """What is trained, on what, for how long."""

    home: str
    """Directory of model and data."""
    size: str
    device: str
    clients: int = 3
    rounds: int = 3
    steps: int = 10
    batch_size: int = 16
    shortest: int = 64
    longest: int = 512
    """Tokens of the shortest and of the longest example."""
    rank: int = 32
    alpha: int = 64
    dropout: float = 0.05
    checkpointing: bool = True
    """Whether FedSafe checkpoints; the reference system always does."""
    quantization: str = "nf4"
    """Of FedSafe's base."""
    reference_quantization: str = "int8"
    runtime: str = "inline"
    group_by_length: bool = True
    seed: int = 0

    @property
    def model(self) -> Path:
        return Path(self.home) / "model"

    @property
    def examples(self) -> int:
        """Examples of each client: as many as it trains on in a round, so that the tokens
        of a round are the same whoever draws."""
        return self.steps * self.batch_size

    def data(self, client: int | None = None) -> Path:
        """Return one client's examples, or those of all."""
        return Path(self.home) / f"{'all' if client is None else client}.jsonl"

    @classmethod
    def read(cls, path: str) -> "Setting":
        return cls(**json.loads(Path(path).read_text()))

    def write(self, path: Path) -> Path:
        path.write_text(json.dumps(asdict(self)))
        return path
