"""Run directory layout, locking and resume."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from fedsafe.errors import RunError, reason_of
from fedsafe.experiment import Experiment, load
from fedsafe.experiment.load import as_yaml
from fedsafe.plugin_modules import recorded
from fedsafe.runs.addresses import check_local
from fedsafe.runs.checksums import read_sealed, sealed, verified, write_sealed
from fedsafe.runs.files import digest, file_digest, flock, private_directory, read_lines, write_text
from fedsafe.runs.layout import RunFile
from fedsafe.runs.leftovers import holds_no_run
from fedsafe.runs.records import Member, Provenance, Record, Round, Summary
from fedsafe.validation_errors import first_of

R = TypeVar("R", bound=Record)
CLIENTS = ".clients"
"""What the clients of one machine keep from round to round, inside the run directory."""


def default_directory(experiment: Experiment) -> Path:
    """Return ``runs/<name>-<hash>``: equal experiments share a directory."""
    return Path("runs") / f"{experiment.name}-{experiment_hash(experiment)[:8]}"


def run_directory(output: str, experiment: Experiment) -> Path:
    """Return where a run under Flower goes: the output, or a default for the user.

    ``$FEDSAFE_HOME``, or ``fedsafe`` in the user's home, holds the runs without an output.
    """
    if output:
        return Path(output).expanduser()
    home = Path(os.environ.get("FEDSAFE_HOME", str(Path.home() / "fedsafe")))
    return home / default_directory(experiment)


def experiment_hash(experiment: Experiment) -> str:
    """Return the sha256 of the resolved experiment."""
    return digest(experiment.as_json())


class FederationStore:
    """The records and checkpoints of one federation, in one directory."""

    def __init__(self, directory: Path) -> None:
        check_local(directory)
        self.directory = directory

    @property
    def adapter(self) -> Path:
        """Final adapter, in PEFT's own format."""
        return self.directory / RunFile.ADAPTER

    def checkpoint(self, number: int) -> Path:
        """Return the checkpoint directory of a round."""
        return self.directory / f"round-{number:04d}"

    def checkpoints(self) -> list[int]:
        """Return the rounds that have a complete checkpoint, ascending."""
        names = (path.name.removeprefix("round-") for path in self.directory.glob("round-*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def rounds(self) -> list[Round]:
        """Return the recorded rounds, in order.

        Raises:
            RunError: A record cannot be read.
        """
        try:
            return [Round.model_validate(row) for row in read_lines(self._rounds)]
        except ValueError as error:
            raise RunError(
                f"{self._rounds} cannot be read: {reason_of(error)}. Restore it, or start again in "
                "another directory."
            ) from None

    def round_lines(self) -> list[str]:
        """Return the text of each recorded round, in order."""
        if not self._rounds.is_file():
            return []
        return self._rounds.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]

    def write_rounds(self, rounds: list[Round]) -> None:
        """Replace the records of the rounds."""
        write_text(self._rounds, "".join(f"{record.model_dump_json()}\n" for record in rounds))

    def inputs(self) -> dict[str, str] | None:
        """Return what the federation depends on, as it was when it began; None before that.

        Raises:
            RunError: The record cannot be read, or was changed.
        """
        path = self.directory / RunFile.FEDERATION
        return read_sealed(path) if path.is_file() else None

    def write_inputs(self, inputs: Mapping[str, str]) -> None:
        """Write down what the federation depends on."""
        write_sealed(self.directory / RunFile.FEDERATION, inputs)

    @property
    def _rounds(self) -> Path:
        return self.directory / RunFile.ROUNDS


class Store(FederationStore):
    """One run directory; the main federation's records lie at its top."""

    @property
    def control(self) -> FederationStore:
        """The clean control federation."""
        return FederationStore(self.directory / RunFile.CONTROL)

    @property
    def vacant(self) -> bool:
        """Whether no run is here: nothing, or what a start leaves that ended early."""
        return holds_no_run(self.directory)

    @property
    def events(self) -> Path:
        """Progress, a line an event."""
        return self.directory / RunFile.EVENTS

    @property
    def experiment(self) -> Experiment:
        """Experiment of the run, read back and checked."""
        if not (self.directory / RunFile.EXPERIMENT).is_file():
            raise RunError(
                f"{self.directory} is no run directory: it has no experiment.yaml. Give the "
                "directory that `fedsafe run` printed."
            )
        return load(self.directory)

    def summary(self) -> Summary | None:
        """Return what summary.json says, or None before there is one."""
        return self._record(RunFile.SUMMARY, Summary)

    def write_summary(self, summary: Summary) -> None:
        """Replace summary.json."""
        write_sealed(self.directory / RunFile.SUMMARY, summary.plain())

    def write_provenance(self, provenance: Provenance) -> None:
        """Write provenance.json."""
        write_sealed(self.directory / RunFile.PROVENANCE, provenance.plain())

    def provenance(self) -> Provenance | None:
        """Return what provenance.json says, or None before there is one."""
        return self._record(RunFile.PROVENANCE, Provenance)

    def _record(self, name: str, kind: type[R]) -> R | None:
        path = self.directory / name
        if not path.is_file():
            return None
        try:
            return kind.model_validate(read_sealed(path))
        except ValidationError as error:
            raise RunError(f"{path} cannot be read: {first_of(error)}.") from None

    def members(self) -> list[Member]:
        """Return the clients that joined a deployment, by number; none before any did.

        Raises:
            RunError: A record cannot be read.
        """
        path = self.directory / RunFile.CLIENTS
        try:
            return [Member.model_validate(verified(row, path)) for row in read_lines(path)]
        except ValueError as error:
            raise RunError(f"{path} cannot be read: {reason_of(error)}. Restore it.") from None

    def write_members(self, members: Iterable[Member]) -> None:
        """Replace the records of the clients that joined."""
        ordered = sorted(members, key=lambda member: member.client)
        text = "".join(f"{json.dumps(sealed(member.plain()))}\n" for member in ordered)
        write_text(self.directory / RunFile.CLIENTS, text)

    def experiment_digest(self) -> str:
        """Return the sha256 of experiment.yaml's bytes."""
        return file_digest(self.directory / RunFile.EXPERIMENT)

    def open(self, experiment: Experiment) -> None:
        """Claim the directory for an experiment, new or resumed.

        Raises:
            RunError: It holds another experiment, or something that is no run.
        """
        self.check(experiment)
        known = self.directory / RunFile.EXPERIMENT
        if not known.is_file():
            if places := recorded(experiment.as_json()):
                write_text(self.directory / RunFile.PLUGIN_PATHS, places)
            write_text(known, as_yaml(experiment))

    def check(self, experiment: Experiment) -> None:
        """See that the directory is free, or holds this experiment.

        Raises:
            RunError: It holds another experiment, or something that is no run.
        """
        known = self.directory / RunFile.EXPERIMENT
        text = as_yaml(experiment)
        if self.directory.is_file():
            raise RunError(f"{self.directory} is a file. Choose a directory with -o.")
        if known.is_file():
            if known.read_bytes() != text.encode():
                raise RunError(
                    f"{self.directory} holds another experiment. Choose another directory with "
                    "-o, or remove it."
                )
            return
        if not self.vacant:
            raise RunError(
                f"{self.directory} is not empty and holds no run. Choose another directory with -o."
            )

    @contextmanager
    def lock(self, patience: float = 0.0) -> Iterator[None]:
        """Hold the directory against a second writer for ``patience`` seconds at most.

        The system frees it on any exit.

        Raises:
            RunError: Another process is writing to it.
        """
        try:
            private_directory(self.directory)
            self.directory.chmod(0o700)  # texts in it are not redacted
            file = flock(self.directory / ".lock", self._taken, patience=patience)
        except OSError as error:
            raise RunError(
                f"The run directory {self.directory} cannot be written: {error.strerror}. Choose "
                "another directory with -o."
            ) from None
        with file:
            yield

    def _taken(self, holder: str) -> RunError:
        return RunError(
            f"Another process ({holder}) is writing to {self.directory}. Wait for it, or choose "
            "another directory."
        )
