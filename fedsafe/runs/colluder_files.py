"""Files in which the attackers of a declared red team share their updates of a round.

On one machine they lie beside the run's records; attackers on machines of their own have a
directory of theirs, such as one of a network file system. One file a client and round, whole
from the moment it has its name.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedsafe.errors import RunError
from fedsafe.runs.files import digest, write_bytes

if TYPE_CHECKING:
    from torch import Tensor

COLLUDERS = "colluders"
"""Directory of attackers on the server's machine, beside what its clients keep."""
KEPT = 2
"""Rounds of which a client's files stay: one asked again in a round finds the others' still."""
PAUSE = 0.25
"""Seconds between two looks for the other colluders' files."""


@dataclass(frozen=True)
class ColluderFiles:
    """The colluders' files of one round of a federation."""

    directory: Path
    run: str
    """Names the run, the same after a restart."""
    federation: str
    round: int

    def share(self, client: int, tensors: "Mapping[str, Tensor]") -> None:
        """Write a client's tensors for the others, and remove its files of earlier rounds.

        Raises:
            RunError: The disk is full.
        """
        from safetensors.torch import save

        content = save({name: tensor.clone() for name, tensor in tensors.items()})
        write_bytes(self._path(client, self.round), content)
        for old in range(max(1, self.round - 10), self.round - KEPT + 1):
            self._path(client, old).unlink(missing_ok=True)

    def read(self, client: int) -> "dict[str, Tensor] | None":
        """Return what a client shared in this round; None before it has.

        Raises:
            RunError: Its file cannot be read.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        path = self._path(client, self.round)
        try:
            return load(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError) as error:
            raise RunError(
                f"The colluders' file {path} cannot be read: {error}. Give all attackers one "
                "directory that each can write to."
            ) from None

    def wait(
        self, clients: Collection[int], seconds: float, alive: Callable[[], None]
    ) -> "dict[int, dict[str, Tensor]]":
        """Return what each of the clients shares in this round, once all have.

        Args:
            clients: Numbers of the colluders.
            seconds: To wait for the last of them.
            alive: Called between two looks; what it raises ends the wait.

        Raises:
            RunError: A colluder has shared nothing by then.
        """
        until = time.monotonic() + seconds
        found: dict[int, dict[str, Tensor]] = {}
        while True:
            for client in sorted(set(clients) - found.keys()):
                shared = self.read(client)
                if shared is not None:
                    found[client] = shared
            missing = sorted(set(clients) - found.keys())
            if not missing:
                return dict(sorted(found.items()))
            if time.monotonic() >= until:
                raise RunError(
                    f"Colluding client {', '.join(map(str, missing))} shared no update of round "
                    f"{self.round} in {self.directory} within {seconds:g} s. See that it runs with "
                    "--collude and the same directory, and with a trainer of its own; or raise "
                    "--collude-wait."
                )
            alive()
            time.sleep(PAUSE)

    def clear(self) -> None:
        """Remove all files of the directory: the server's machine keeps none beyond a round."""
        for path in self.directory.glob("*.safetensors"):
            path.unlink(missing_ok=True)

    def _path(self, client: int, number: int) -> Path:
        prefix = f"{digest(self.run)[:12]}-{self.federation}"
        return self.directory / f"{prefix}-{number:08d}-{client}.safetensors"
