"""Cache of each client's latest training result, for requests that are sent again.

A server that was killed, or whose machine went away, asks anew for replies that never
reached it. The same job on the same adapter gives the same update, so it is sent again and
not made again.
"""

from hashlib import sha256

from clients.node_config import NodeConfig
from clients.worker.result import Arrays, TrainResult
from fedsafe.messages import Job

MOST = 2**30
"""Bytes of updates that are kept, the newest ones."""


class ResultCache:
    """Latest training result of each client, up to a total size; the oldest goes first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._last: dict[str, tuple[bytes, TrainResult]] = {}
        """By the client's directory, the newest last."""

    def find(self, job: Job, arrays: Arrays, site: NodeConfig) -> TrainResult | None:
        """Return the cached result of an identical request, or None."""
        key, found = self._last.get(str(site.state), (b"", None))
        return found if found is not None and key == _key(job, arrays, site) else None

    def keep(self, job: Job, arrays: Arrays, site: NodeConfig, trained: TrainResult) -> None:
        """Store a result in place of the client's previous one."""
        self._last.pop(str(site.state), None)
        self._last[str(site.state)] = _key(job, arrays, site), trained
        while self._last and sum(_size(found) for _, found in self._last.values()) > self._most:
            del self._last[next(iter(self._last))]


def _size(trained: TrainResult) -> int:
    return sum(array.nbytes for array in trained.arrays.values())


def _key(job: Job, arrays: Arrays, site: NodeConfig) -> bytes:
    """Return a digest of everything that the result depends on."""
    digest = sha256(f"{job.model_dump_json()}\0{site.model_dump_json()}".encode())
    for name, array in arrays.items():
        digest.update(f"\0{name} {array.dtype.str} {array.shape}\0".encode())
        digest.update(array.data if array.flags.c_contiguous else array.tobytes())
    return digest.digest()
