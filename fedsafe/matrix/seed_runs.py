"""Run one experiment with several seeds in this process, and aggregate the runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedsafe.errors import FedSafeError, RunError
from fedsafe.experiment import Experiment
from fedsafe.experiment.load import validate
from fedsafe.experiment.seed_list import seed_list
from fedsafe.pipeline.seeds import aggregate_seeds, seed_directory
from fedsafe.runs.events import Listener
from fedsafe.runs.layout import RunFile
from fedsafe.runs.seed_records import FILE, PAGE, SeedSummary
from fedsafe.runs.store import Store, default_directory


@dataclass(frozen=True)
class SeedPlan:
    """Experiments that differ in their seed alone, and the directory of their runs."""

    directory: Path
    experiments: Mapping[int, Experiment]

    def run_directory(self, seed: int) -> Path:
        """Return where the run with a seed lies."""
        return seed_directory(self.directory, seed)


def plan(
    experiment: Experiment,
    seeds: str | Iterable[int],
    directory: str | Path | None = None,
    *,
    anew: bool = False,
) -> SeedPlan:
    """Return an experiment with each seed, checked, and where it would run.

    Args:
        experiment: The experiment; its own seed is not used.
        seeds: Such as ``"0-4"`` or ``[0, 3, 7]``.
        directory: Where to; None: ``runs/<name>-<hash>-seeds``.
        anew: Whether runs of another experiment may be there, as they will be removed.

    Raises:
        ConfigError: The seeds are wrong, or the experiment with one of them.
        RunError: The directory holds something else.
    """
    values = experiment.model_dump(mode="json")
    made = {seed: validate({**values, "seed": seed}) for seed in seed_list(seeds)}
    alike = experiment.model_copy(update={"seed": 0})
    default = default_directory(alike)
    home = default.with_name(f"{default.name}-seeds") if directory is None else Path(directory)
    _check(home)
    planned = SeedPlan(home, made)
    for seed, one in made.items() if not anew else ():
        Store(planned.run_directory(seed)).check(one)
    return planned


def run(planned: SeedPlan, listen: Listener | None = None) -> SeedSummary:
    """Run what is left of each seed's run, draw its report, and aggregate.

    Raises:
        FedSafeError: A run failed; the message names its seed.
    """
    from fedsafe.launch import inline
    from fedsafe.report import write, write_seeds

    for seed, experiment in planned.experiments.items():
        home = planned.run_directory(seed)
        if completed(home):
            continue
        try:
            inline.run(experiment, home, listen)
        except FedSafeError as error:
            raise RunError(
                f"Seed {seed}: {error} What is done is kept; the same command goes on with it."
            ) from error
        finally:
            if (home / RunFile.EXPERIMENT).is_file():
                write(home)
    any_seed = next(iter(planned.experiments.values()))
    summary = aggregate_seeds(planned.directory, any_seed, planned.experiments)
    write_seeds(planned.directory)
    return summary


def completed(directory: Path) -> bool:
    """Tell whether a run is completed, so that nothing of it is left to do."""
    summary = Store(directory).summary()
    return summary is not None and summary.status == "completed"


def _check(home: Path) -> None:
    """See that a directory is free, or holds runs of seeds.

    Raises:
        RunError: It holds something else.
    """
    if home.exists() and not home.is_dir():
        raise RunError(f"{home} is a file. Choose another directory with -o.")
    if (home / RunFile.EXPERIMENT).is_file():
        raise RunError(
            f"{home} holds a single run. Choose another directory for runs with several seeds with "
            "-o."
        )
    ours = {FILE, PAGE}
    found = [path.name for path in home.iterdir()] if home.is_dir() else []
    if any(name not in ours and not name.startswith("seed-") for name in found):
        raise RunError(
            f"{home} is not empty and holds no runs with several seeds. Choose another directory "
            "with -o."
        )
