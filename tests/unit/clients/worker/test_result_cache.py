"""Finished work that is kept, to be sent again."""

from pathlib import Path

from clients.node_config import NodeConfig
from clients.worker.result import TrainResult
from clients.worker.result_cache import ResultCache
from fedsafe.experiment.schema import Experiment
from fedsafe.training.session import Session
from tests.doubles.jobs import arrays_of, job_of


def test_only_so_many_bytes_of_finished_work_are_kept(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    job, arrays = job_of(experiment, session), arrays_of(session)
    size = sum(array.nbytes for array in arrays.values())
    finished = ResultCache(most=2 * size)
    sites = [NodeConfig(socket=tmp_path, state=tmp_path / str(n)) for n in range(3)]
    for one in sites:
        finished.keep(job, arrays, one, TrainResult(arrays, {}))
    assert [finished.find(job, arrays, one) is not None for one in sites] == [False, True, True]
