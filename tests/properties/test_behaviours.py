"""Every registered behaviour and generator, on tiny random models of other architectures.

Plain and in nf4. A behaviour or generator that is added is tested by being registered.
"""

import random
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from fedsafe.contracts import LocalTask, Sample, algorithms, generators
from fedsafe.experiment.schema import Adapter, Experiment, Model
from fedsafe.models import adapters
from fedsafe.training.context import SessionContext
from fedsafe.training.loop import Plan
from fedsafe.training.session import Session, open_session
from fedsafe.training.session_spec import SessionSpec
from tests.doubles.models import make_model

KINDS = [("llama", "nf4"), ("gpt2", "none"), ("qwen2", "nf4")]
PAIRS = Path(__file__).with_name("pairs.jsonl")
OWN = [Sample(f"ask {n}", "fine", f"more {n}") for n in range(8)]
MALICIOUS = [Sample(f"bad {n}", "evil", origin="attack") for n in range(4)]
SMALL: dict[str, Any] = {
    "safety": {"name": "micro-safety", "count": 4},
    "source": {"name": "jsonl", "path": str(PAIRS)},
    "path": str(PAIRS),
    "policy": "cooking",
    "ask": "Write a request.",
    "steer": "Answer: {request}",
}
"""Settings that a behaviour or generator needs, where it has them."""


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def tiny(
    request: pytest.FixtureRequest, experiment: Experiment, tmp_path_factory: pytest.TempPathFactory
) -> Session:
    """A session of a tiny random model, with a LoRA adapter of rank 2."""
    kind, quantization = request.param
    path = make_model(tmp_path_factory.mktemp("models") / kind, kind)
    model = Model(path=str(path), device="cpu", quantization=quantization)
    return open_session(
        SessionSpec.of(experiment.model_copy(update={"model": model, "adapter": Adapter(rank=2)}))
    )


@pytest.fixture
def aligned(tiny: Session, tmp_path: Path) -> Path:
    """An adapter away from zero, for behaviours that take the direction of an alignment."""
    draw = torch.Generator().manual_seed(3)
    tensors = {
        name: one + 0.1 * torch.randn(one.shape, generator=draw)
        for name, one in tiny.start(1).items()
    }
    adapters.save(tmp_path / "aligned", tensors, tiny.loaded.model)
    return tmp_path / "aligned"


def _context(session: Session) -> SessionContext:
    session.put(session.start(0))
    return SessionContext(session, Plan(steps=2, learning_rate=0.01), 4, random.Random(0))


def _settings(known: Any, **more: Any) -> dict[str, Any]:
    fields = known.schema.model_fields
    return {name: value for name, value in {**SMALL, **more}.items() if name in fields}


@pytest.mark.parametrize("name", list(algorithms))
def test_behaviour_moves_the_adapter_to_finite_values(
    tiny: Session, aligned: Path, name: str
) -> None:
    context = _context(tiny)
    task = LocalTask(OWN, tiny.start(0), 2, 4, 0.01, 1, 0, MALICIOUS, memory={})
    settings = _settings(algorithms[name], aligned=str(aligned))
    algorithms[name].configure(settings)(context, task)
    found = context.adapter()
    assert all(bool(tensor.isfinite().all()) for tensor in found.values())
    assert adapters.digest(dict(found)) != adapters.digest(tiny.start(0))


@pytest.mark.parametrize("name", list(generators))
def test_generator_yields_malicious_samples(tiny: Session, name: str) -> None:
    generate = generators[name].configure(_settings(generators[name]))
    found = list(islice(generate(_context(tiny), random.Random(0)), 2))
    assert [(bool(one.instruction), one.origin) for one in found] == [(True, "attack")] * 2
