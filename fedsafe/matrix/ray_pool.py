"""Tasks of a matrix on a Ray cluster: each asks for CPUs and GPUs and runs where they are free.

Results go through the matrix directory, which every machine reaches by the same path, or through
an address (`fedsafe.matrix.remote_stages`). Ray begins a task anew whose process or machine is
lost; it goes on from its last round where that is in the shared directory.
"""

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fedsafe.errors import ConfigError, RunError, reason_of
from fedsafe.matrix.pools import Ended
from fedsafe.matrix.remote_stages import RemoteStages, on_this_machine
from fedsafe.matrix.work import Result, Task, do

LOST = 5
"""Times that a task is begun anew whose machine was lost."""


def work_on(values: dict[str, Any]) -> dict[str, Any]:
    """Do a task that came as plain values; return its result as such."""
    task = Task(**values)
    if task.results:
        return asdict(do(on_this_machine(task)))
    root = Path(task.root)
    if not root.is_dir():
        return asdict(
            Result(
                False,
                f"this machine does not see the matrix directory {root}. Mount it at the same "
                "path on every machine of the cluster.",
            )
        )
    return asdict(do(task))


class RayPool:
    """A pool on a Ray cluster.

    Args:
        address: Of the cluster, such as ``10.0.0.1:6379``; ``auto``: the one of this machine.
        cpus: CPUs that a task holds.
        gpus: GPUs that a task holds; a fraction lets several share one.
        results: Address through which finished stages go; empty: the matrix directory.

    Raises:
        ConfigError: Ray is not installed, or nothing can be kept at such an address.
        RunError: There is no cluster at the address, or results cannot be written to theirs.
    """

    def __init__(
        self, address: str, cpus: float = 1.0, gpus: float = 0.0, results: str = ""
    ) -> None:
        if results:
            RemoteStages(results, Path()).check()
        try:
            import ray
        except ImportError:
            raise ConfigError(
                "--ray needs Ray: pip install 'fedsafe[simulation]', here and on each machine."
            ) from None
        self._ray: Any = ray
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # noqa: BLE001 - Ray raises many kinds
            reason = reason_of(error)
            raise RunError(
                f"There is no Ray cluster to reach at {address}: {reason} Start one with `ray "
                "start --head`, and `ray start --address=HOST:6379` on each other machine."
            ) from None
        self._work = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=LOST)(work_on)
        self._running: dict[Any, str] = {}
        self._results = results
        self._here: list[Task] = []

    @property
    def room(self) -> int:
        """Tasks that the cluster may be given now; it queues what it has no resources for."""
        return max(0, 1000 - len(self._running))

    def submit(self, task: Task) -> None:
        """Hand a task to the cluster.

        Where results go through an address, a cell's run is put together on this machine.
        """
        task = replace(task, results=self._results)
        if task.results and not task.stage:
            self._here.append(task)
        else:
            self._running[self._work.remote(asdict(task))] = task.id

    def wait(self) -> Ended:
        """Wait until a task ends."""
        if self._here:
            task = self._here.pop(0)
            return [(task.id, do(task))]
        ready, _ = self._ray.wait(list(self._running), num_returns=1)
        ended: Ended = []
        for reference in ready:
            name = self._running.pop(reference)
            try:
                result = Result(**self._ray.get(reference))
            except self._ray.exceptions.RayError as error:
                told = " ".join(str(error).split())[:300]
                result = Result(False, f"Ray lost it: {type(error).__name__}: {told}")
            ended.append((name, result))
        return ended

    def close(self) -> None:
        """Cancel what runs, and leave the cluster as it is."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()
