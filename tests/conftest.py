"""What every test needs: one thread, a cache of its own, no call home, tiny models."""

import os

os.environ.update(
    FLWR_TELEMETRY_ENABLED="0",
    FLWR_DISABLE_UPDATE_CHECK="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_OFFLINE="1",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
)

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fedsafe.experiment.schema import Adapter, Experiment, Model
from fedsafe.models.base import LoadedModel
from fedsafe.training.session import Session
from tests.doubles.models import make_model

settings.register_profile("fedsafe", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fedsafe")  # a busy machine fails no test

SMOLLM2 = Path(__file__).parents[1] / "models" / "smollm2"
collect_ignore = ["doubles/doors.py"]
"""It registers a plug-in: imported by pytest under another name it would register it twice."""


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDSAFE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def flower_task() -> None:
    """Let messages be made: Flower allows it inside a task only."""
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama on disk, with a tokenizer and a chat template."""
    return make_model(tmp_path_factory.mktemp("models") / "llama", "llama")


@pytest.fixture(scope="session")
def loaded(llama: Path) -> LoadedModel:
    """The tiny Llama with a fresh adapter; tests that change the adapter put it back."""
    from fedsafe.models.base import load

    return load(Model(path=str(llama), device="cpu"), Adapter(rank=4, alpha=8))


@pytest.fixture(scope="session")
def experiment(llama: Path) -> Experiment:
    """Four honest clients of the micro world on the tiny Llama: a fraction of a second a round."""
    from fedsafe.experiment.load import validate

    return validate(
        {
            "name": "tiny",
            "model": {"path": str(llama), "device": "cpu"},
            "adapter": {"rank": 4, "alpha": 8},
            "data": {
                "source": {"name": "micro", "count": 32},
                "examples_per_client": 8,
                "max_length": 160,
            },
            "training": {"steps": 2, "batch_size": 4, "learning_rate": 0.01},
            "federation": {"clients": 4, "rounds": 2, "deadline": 60},
            "evaluation": {
                "suites": {
                    "name": "micro",
                    "harmful": 2,
                    "over_refusal": 2,
                    "old_skills": 2,
                    "new_skill": 2,
                },
                "max_new_tokens": 4,
                "probe_every": 0,
                "probe_prompts": 1,
            },
        }
    )


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct as `make model` imports it; for tests marked ``real_model``."""
    directory = Path(os.environ.get("FEDSAFE_SMOLLM2") or SMOLLM2)
    if not (directory / "config.json").is_file():
        pytest.skip(f"SmolLM2 is not in {directory}: `make model` fetches it, 93 MB.")
    return directory


@pytest.fixture
def session(experiment: Experiment) -> Session:
    """The resident session of the tiny experiment, its adapter fresh."""
    from fedsafe.training.session import resident

    found, _ = resident(experiment)
    found.put(found.start(0))
    return found
