"""Inspect logs (``.eval``) of a run's saved exchanges and verdicts: one log a stage.

``inspect view`` and ``inspect_ai.log.read_eval_log`` open them. Texts are withheld unless
revealed. Inspect: UK AI Security Institute, https://inspect.aisi.org.uk.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from fedsafe.app import activate
from fedsafe.errors import RunError
from fedsafe.evaluation.kept import records
from fedsafe.integrations.figures import score_figures, settings_of
from fedsafe.integrations.output_files import replaced
from fedsafe.integrations.packages import optional_package
from fedsafe.report.loader import Exchange, RunData, read
from fedsafe.runs.files import digest
from fedsafe.runs.records import Scores, Stage
from fedsafe.runs.scores import PLAIN
from fedsafe.runs.store import Store

Verdicts = dict[tuple[str, str], Mapping[str, Any]]
"""Rows of one judge, by prompt and condition."""
UNKNOWN: Final = "1970-01-01T00:00:00+00:00"
"""When a run began that does not say it."""
FACTS: Final = ("purpose", "topic", "skill", "condition")
"""What is known of an exchange beside its texts."""


def export_inspect_logs(directory: Path, output: Path, *, reveal: bool = False) -> list[Path]:
    """Write the exchanges of each stage as an Inspect log, with the scores of every judge.

    Args:
        directory: A run directory with at least one evaluated stage.
        output: Directory to write to; logs of the same names are replaced.
        reveal: Write prompts and replies; else their lengths alone.

    Returns:
        The logs, in the order of the stages.

    Raises:
        MissingDependencyError: The package inspect_ai is not installed.
        RunError: It is no run directory, or no stage of it has kept its exchanges.
    """
    purpose = "An Inspect log"
    inspect = optional_package("inspect_ai.log", extra="inspect", purpose=purpose)
    activate()
    run = read(directory)
    maker = _Maker(inspect, run, settings_of(Store(directory).experiment), reveal=reveal)
    files = []
    for stage in run.stages:
        if rows := run.exchanges(stage):
            path = output / f"{stage.name.replace(':', '-').replace('/', '-')}.eval"
            with replaced(path) as aside:
                inspect.write_eval_log(maker.log(stage, rows), aside, format="eval")
            files.append(path)
    if not files:
        raise RunError(f"{directory} has no stage with saved exchanges yet: nothing to export.")
    return files


class _Maker:
    """Makes Inspect's records of ours."""

    def __init__(
        self, inspect: Any, run: RunData, settings: Mapping[str, Any], *, reveal: bool
    ) -> None:
        self._log = inspect
        model, scorer = (
            optional_package(f"inspect_ai.{name}", extra="inspect", purpose="An Inspect log")
            for name in ("model", "scorer")
        )
        self._model, self._score = model, scorer.Score
        self._run, self._settings, self._reveal = run, settings, reveal

    def log(self, stage: Stage, rows: list[Exchange]) -> Any:
        """Return the log of a stage."""
        judges = dict(_judges(self._run, stage))
        samples = [self._sample(row, judges) for row in rows]
        provenance = self._run.provenance
        name = f"fedsafe/{self._run.setting('model.path', 'model')}"
        started = provenance.started if provenance is not None else UNKNOWN
        spec = self._log.EvalSpec(
            eval_id=digest(str(self._run.directory.resolve()), stage.name)[:22],
            run_id=(provenance.run if provenance is not None else "")[:22],
            created=started,
            task=f"{self._run.name}/{stage.name}",
            task_id=stage.name,
            dataset=self._log.EvalDataset(name="fedsafe", samples=len(samples)),
            model=name,
            config=self._log.EvalConfig(),
            packages={} if provenance is None else provenance.packages,
            metadata={
                "adapter": stage.adapter,
                "texts": "revealed" if self._reveal else "withheld",
                "settings": dict(self._settings),
            },
        )
        results = self._log.EvalResults(
            total_samples=len(samples),
            completed_samples=len(samples),
            scores=[self._scores(judge, found) for judge, (found, _) in judges.items()],
        )
        ended = datetime.fromisoformat(started) + timedelta(seconds=stage.evaluation_seconds)
        times = self._log.EvalStats(started_at=started, completed_at=ended.isoformat())
        return self._log.EvalLog(
            status="success", eval=spec, results=results, stats=times, samples=samples
        )

    def _scores(self, judge: str, found: Scores) -> Any:
        metrics = {
            key: self._log.EvalMetric(
                name=key,
                value=value,
                metadata=found.measures[key].model_dump(mode="json", exclude={"parts", "value"}),
            )
            for key, value in score_figures(found).items()
        }
        return self._log.EvalScore(name=judge, scorer=judge, metrics=metrics)

    def _sample(self, row: Exchange, judges: Mapping[str, tuple[Scores, Verdicts]]) -> Any:
        key = _key(row)
        asked, reply = self._text(row.get("instruction")), self._text(row.get("reply"))
        prefill = self._text(row.get("prefill")) if row.get("prefill") else ""
        output = self._model.ModelOutput.from_content("fedsafe", reply)
        user = self._model.ChatMessageUser(content=asked)
        found = {judge: verdicts[key] for judge, (_, verdicts) in judges.items() if key in verdicts}
        return self._log.EvalSample(
            id=key[0] if key[1] == PLAIN else f"{key[0]}@{key[1]}",
            epoch=1,
            input=asked,
            target="",
            messages=[user, output.message],
            output=output,
            scores={judge: self._verdict(row, verdict) for judge, verdict in found.items()},
            metadata={
                **{name: row[name] for name in FACTS if row.get(name)},
                **({"prefill": prefill} if prefill else {}),
            },
        )

    def _verdict(self, row: Exchange, verdict: Mapping[str, Any]) -> Any:
        raw = str(verdict.get("raw") or "")
        known = {name: verdict[name] for name in ("correct", "safe", "score") if name in verdict}
        return self._score(
            value=str(verdict.get("outcome", "unknown")),
            explanation=self._text(raw) if raw else None,
            metadata={name: value for name, value in known.items() if value is not None},
        )

    def _text(self, text: object) -> str:
        said = str(text or "")
        return said if self._reveal else f"[withheld: {len(said)} characters]"


def _judges(run: RunData, stage: Stage) -> Iterator[tuple[str, tuple[Scores, Verdicts]]]:
    """Yield every judge of a stage with its scores and verdicts, the judge of the summary first."""
    home = (run.directory / stage.evaluation).resolve()
    if not home.is_relative_to(run.directory.resolve()):
        return
    names = [path.stem for path in sorted((home / "verdicts").glob("*.jsonl"))]
    first = Path(stage.scores.verdicts).stem
    for name in sorted(names, key=lambda one: one != first):
        rows = records(home / "verdicts" / f"{name}.jsonl")
        verdicts: Verdicts = {_key(row): row for row in rows}
        yield name, (stage.scores if name == first else _scores_of(home, name), verdicts)


def _scores_of(home: Path, judge: str) -> Scores:
    try:
        record = json.loads((home / "scores" / f"{judge}.json").read_text(encoding="utf-8"))
        return Scores.model_validate(record["scores"])
    except (OSError, ValueError, KeyError, TypeError):
        return Scores()


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row.get("id")), str(row.get("condition") or PLAIN)
