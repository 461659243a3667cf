"""Acceptance of defenses: reliability, fresh generalisation, second attack, transfer, price.

Every defense of an experiment repairs the same attacked model, once a seed; what it found goes on
a card, failures and all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fedsafe.acceptance import cells
from fedsafe.acceptance.cells import Measured
from fedsafe.acceptance.near_data import near_answers
from fedsafe.acceptance.poisoned_notes import notes_of, poisoning
from fedsafe.errors import ConfigError
from fedsafe.experiment.load import load, validate
from fedsafe.experiment.pipelines import PREFIX, again_name, pipelines_of
from fedsafe.experiment.schema import Experiment, PluginChoice, SecondAttack
from fedsafe.experiment.seed_list import seed_list
from fedsafe.pipeline.defense_work import with_all_settings
from fedsafe.pipeline.run_defense import plain
from fedsafe.pipeline.seeds import SeedRun
from fedsafe.runs.acceptance import AcceptanceCard, Cell
from fedsafe.runs.events import Listener
from fedsafe.runs.files import write_json
from fedsafe.runs.store import experiment_hash
from fedsafe.version import __version__


@dataclass(frozen=True)
class Acceptance:
    """Acceptance cards to be measured.

    Attributes:
        experiment: Attack and evaluation; its defenses are those that are measured.
        seeds: Of the runs.
        directory: Gets the runs, the stages that they share, and ``cards/NAME.json``.
        transfer: Another experiment, of another model, that names the same defenses; None: transfer
            is not measured.
        listen: Called with each event.
    """

    experiment: Experiment
    seeds: Sequence[int]
    directory: Path
    transfer: Experiment | None = None
    listen: Listener | None = None

    def cards(self) -> list[AcceptanceCard]:
        """Run what is left to run, write the cards, and return them.

        Raises:
            FedSafeError: A run failed other than in a defense.
        """
        runs = {seed: self._run(self.experiment, seed, "known") for seed in self.seeds}
        adaptive = self._adaptive()
        transferred = self._transferred()
        found = []
        for choice in self._choices:
            name = f"{PREFIX}{choice.name}"
            known = [self._measured(run, name) for run in runs.values()]
            poisoned = [self._measured(run, name) for run in adaptive.get(choice.name, [])]
            card = self._card(choice, known, [
                cells.reliability(known), *cells.shares(known), *self._attacked(known, poisoned),
                *self._elsewhere(choice.name, transferred), *cells.prices(known),
            ])  # fmt: skip
            write_json(self.directory / "cards" / f"{choice.name}.json", card.plain())
            found.append(card)
        return found

    @property
    def _choices(self) -> list[PluginChoice]:
        return [steps[0] for steps in pipelines_of(self.experiment.defenses)]

    def _measured(self, run: SeedRun, name: str) -> Measured:
        return Measured(run, name, held_out=self.experiment.evaluation.held_out)

    def _run(self, experiment: Experiment, seed: int, kind: str) -> SeedRun:
        """Run an experiment with a seed, or what is left of it; defenses may fail."""
        from fedsafe.launch import inline

        one = validate({**experiment.model_dump(mode="json"), "seed": seed})
        home = self.directory / f"{kind}-{experiment_hash(one)[:8]}-seed-{seed}"
        inline.run(one, home, self.listen, self.directory / "stages")
        return SeedRun.read(home)

    def _adaptive(self) -> dict[str, list[SeedRun]]:
        """Return, by defense, the runs whose attackers have poisoned its notes."""
        by_notes: dict[tuple[str, ...], list[PluginChoice]] = {}
        for choice in self._choices:
            if notes := notes_of(choice):
                by_notes.setdefault(notes, []).append(choice)
        found: dict[str, list[SeedRun]] = {}
        for notes, choices in by_notes.items():
            poisoned = poisoning(self.experiment, notes, choices)
            if poisoned is None:
                continue
            runs = [self._run(poisoned, seed, "adaptive") for seed in self.seeds]
            found |= {choice.name: runs for choice in choices}
        return found

    def _transferred(self) -> list[SeedRun]:
        if self.transfer is None or not self.transfer.defenses:
            return []
        return [self._run(self.transfer, seed, "transfer") for seed in self.seeds]

    def _attacked(self, known: Sequence[Measured], poisoned: Sequence[Measured]) -> list[Cell]:
        """Return the cells of attacks that know the defense, and of rounds after it."""
        note = _again("unsafe, its notes poisoned")
        answers = [m.answers(m.defended, "unsafe", "served", m.seen) for m in poisoned]
        failed = sum(m.run.stages[m.defended].status == "failed" for m in poisoned)
        noted = cells.share_cell(note, answers, "it has no note, or the attack none to poison")
        if failed:
            told = f"it made no adapter with {failed} of {len(poisoned)} seeds"
            noted = noted.model_copy(update={"reason": told})
        near = [near_answers(m.run, m.defended, m.run.directory / "near") for m in known]
        why = next((reason for _, reason in near if reason), "not asked")
        second = self.experiment.second_attack
        rounds = second.rounds if second else SecondAttack().rounds
        again = [m.answers(again_name(m.defended), "unsafe", "served", m.seen) for m in known]
        return [
            noted,
            cells.share_cell(_again("unsafe, near its data"), [found for found, _ in near], why),
            cells.share_cell(_again(f"unsafe, {rounds} more rounds under attack"), again),
        ]

    def _elsewhere(self, defense: str, runs: Sequence[SeedRun]) -> list[Cell]:
        """Return the cells of the same defense on another model."""
        stage = f"{PREFIX}{defense}"
        there = [Measured(run, stage) for run in runs if stage in run.stages]
        given = self.transfer is not None
        why = "the other experiment has no such defense" if given else "no other model was given"
        name = f", {Path(self.transfer.model.path).name}" if self.transfer else ""
        asked = Cell(
            group="transfer", name=f"unsafe on another model{name}", threshold=cells.UNSAFE
        )
        forced = asked.model_copy(
            update={
                "name": f"{asked.name}, reply forced to begin, the worst depth",
                "threshold": 2 * cells.UNSAFE,
            }
        )
        found = [m.answers(m.defended, "unsafe", "served", m.seen) for m in there]
        return [cells.share_cell(asked, found, why), cells.worst_depth(forced, there, why)]

    def _card(
        self, choice: PluginChoice, known: Sequence[Measured], found: list[Cell]
    ) -> AcceptanceCard:
        stages = [m.run.stages[m.defended] for m in known if m.defended in m.run.stages]
        spent = [stage.seconds for stage in stages if stage.status == "done"]
        evaluation = self.experiment.evaluation
        return AcceptanceCard(
            defense=choice.name,
            settings=plain(with_all_settings(choice).settings),
            experiment=self.experiment.name,
            model=self.experiment.model.path,
            judge=evaluation.judge.name,
            seeds=list(self.seeds),
            held_out=list(evaluation.held_out),
            made=datetime.now(UTC).date().isoformat(),
            fedsafe=__version__,
            seconds=round(sum(spent) / len(spent), 1) if spent else None,
            cells=found,
        )


def prepare(
    names: Sequence[str],
    reference: str,
    seeds: str | Sequence[int],
    directory: Path,
    transfer: str | None = None,
    listen: Listener | None = None,
) -> Acceptance:
    """Return the acceptance of some defenses of an experiment, checked.

    Args:
        names: Of the defenses; none: all that the experiment has.
        reference: The experiment: a preset or a file.
        seeds: Such as ``"0-2"``.
        directory: Gets the runs and the cards.
        transfer: A second experiment, on another model.
        listen: Called with each event.

    Raises:
        ConfigError: The experiment has no attack, no such defense, or is wrong.
    """
    experiment = load(reference)
    other = None if transfer is None else _chosen(load(transfer), names, transfer, some=True)
    if experiment.attack is None:
        raise ConfigError(
            f"{reference} has no attack, and a defense is measured on an attacked model. Give an "
            "experiment with one, such as micro-acceptance."
        )
    chosen = _chosen(experiment, names, reference)
    return Acceptance(chosen, seed_list(seeds), directory, other, listen)


def _chosen(
    experiment: Experiment, names: Sequence[str], reference: str, *, some: bool = False
) -> Experiment:
    """Return an experiment with the named defenses alone, each by itself.

    Raises:
        ConfigError: One is not there.
    """
    given: dict[str, PluginChoice] = {}
    for steps in pipelines_of(experiment.defenses):
        if len(steps) == 1:
            given.setdefault(steps[0].name, steps[0])
    missing = [name for name in names if name not in given]
    if missing and not some:
        raise ConfigError(
            f"{reference} has no settings for {', '.join(missing)}. Put them under its defenses; "
            f"it has {', '.join(given) or 'none'}."
        )
    kept = [choice for name, choice in given.items() if not names or name in names]
    return experiment.model_copy(update={"defenses": tuple(kept)})


def _again(name: str) -> Cell:
    return Cell(group="second attack", name=name, threshold=cells.UNSAFE)
