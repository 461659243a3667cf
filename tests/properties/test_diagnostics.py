"""What every registered diagnostic keeps, on architectures that users bring."""

import math
from collections.abc import Mapping

import pytest
import torch

from fedsafe.app import activate
from fedsafe.contracts import DiagnosticTask, diagnostics
from fedsafe.evaluation.evaluate import prompts_of
from fedsafe.evaluation.inspecting import task_of
from fedsafe.evaluation.judging import judging_context
from fedsafe.experiment.load import validate
from fedsafe.training.session import open_session
from tests.doubles.models import make_model

activate()
ALL = list(diagnostics)
AT_START = {"kl": 0.0, "probe-cosine": 1.0}
"""Of the aligned model itself."""


@pytest.fixture(scope="module", params=["llama", "qwen2", "gpt2"])
def looked_at(request, tmp_path_factory):
    """A model with the task of its diagnostics, and another adapter for it."""
    path = make_model(tmp_path_factory.mktemp("models") / request.param, request.param)
    suite = {"name": "micro", "harmful": 3, "over_refusal": 2, "old_skills": 2, "new_skill": 0}
    given = {
        "model": {"path": str(path), "device": "cpu"},
        "adapter": {"rank": 2, "alpha": 4},
        "data": {"source": {"name": "micro", "count": 8}, "max_length": 160},
        "evaluation": {"suites": suite, "max_new_tokens": 4},
        "safety_probe": {
            "harmful": {"name": "micro-safety", "count": 24},
            "benign": {"name": "micro", "count": 24},
        },
    }
    experiment = validate(given)
    session, prompts = open_session(experiment), prompts_of(experiment)
    start = session.start(0)
    task = task_of(experiment, session.fingerprint, prompts, prompts, start)
    draw = torch.Generator().manual_seed(1)
    other = {n: t + 0.3 * torch.randn(t.shape, generator=draw) for n, t in start.items()}
    return session, task, other


def read(name: str, session, task: DiagnosticTask, adapter):
    session.put(adapter)
    fresh = DiagnosticTask(
        task.prompts, task.start, task.harmful, task.benign, {}, {"key": task.kept["key"]}
    )
    return diagnostics[name].configure({})(judging_context(session), fresh)


@pytest.mark.parametrize("name", ALL)
def test_same_finite_numbers_twice_and_the_model_as_it_was(name, looked_at):
    session, task, other = looked_at
    found = read(name, session, task, other)
    after = session.read()
    assert all(torch.equal(after[key], other[key]) for key in other)
    numbers = found if isinstance(found, Mapping) else {"": found}
    assert numbers
    assert all(math.isfinite(number) for number in numbers.values())
    if "number" not in diagnostics[name].traits:
        assert all(0 <= number <= 1 for number in numbers.values())
    assert read(name, session, task, other) == found


@pytest.mark.parametrize("name", ALL)
def test_numbers_are_those_of_the_adapter_and_start_where_they_must(name, looked_at):
    session, task, other = looked_at
    first, second = read(name, session, task, task.start), read(name, session, task, other)
    assert first != second or name == "probe-accuracy"
    if name in AT_START:
        numbers = first.values() if isinstance(first, Mapping) else [first]
        assert list(numbers) == pytest.approx([AT_START[name]] * len(list(numbers)), abs=1e-9)
