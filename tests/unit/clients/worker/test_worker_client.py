"""Asking for work where no trainer answers, or none that does any."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from clients.node_config import NodeConfig
from clients.worker.worker_client import request_training
from fedsafe.errors import TransientError
from fedsafe.experiment.schema import Experiment
from fedsafe.training.session import Session
from tests.doubles.jobs import arrays_of, job_of


def _site(directory: Path, **values: Any) -> NodeConfig:
    known = {"socket": directory / "run" / "trainer.sock", "state": directory / "state"}
    return NodeConfig.model_validate({**known, **values})


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as found:
        yield found


def test_no_trainer_is_a_sentence(experiment: Experiment, session: Session, tmp_path: Path) -> None:
    with pytest.raises(TransientError, match=r"No trainer answers on .*fedsafe client"):
        request_training(
            _site(tmp_path), job_of(experiment, session), arrays_of(session), patience=0.2
        )


def test_silent_trainer_is_a_sentence(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    site = _site(tmp_path, silence=0.3)
    site.socket.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(site.socket))
        mute.listen()
        with pytest.raises(TransientError, match=r"no sign of life for 0.3 s, after 0 steps"):
            request_training(site, job_of(experiment, session), arrays_of(session))


def test_trainer_that_takes_no_work_is_a_sentence(
    experiment: Experiment, session: Session, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    site = _site(tmp_path, model=experiment.model.path)
    site.socket.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as rude:
        rude.bind(str(site.socket))
        rude.listen()
        rude.settimeout(0.2)
        job = job_of(experiment, session)
        future = pool.submit(request_training, site, job, arrays_of(session), patience=0.05)
        while not future.done():
            with suppress(TimeoutError):
                rude.accept()[0].close()
            time.sleep(0.1)
    with pytest.raises(TransientError, match="takes no work: it hangs up"):
        future.result()
