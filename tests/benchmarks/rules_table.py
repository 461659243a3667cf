"""Compare aggregation rules on the graded attack: ``python -m tests.benchmarks.rules_table``.

Each rule x clients sampled a round x malicious clients of ten, on preset ``micro-graded``: refusal
of harmful prompts, right answers to the new skill, and the malicious clients' share of influence.
One process and one model for all, no control and no defense. A rule that is told a number of
byzantine clients is told the true one, or the most that it takes with so many clients; a dash
stands where it needs more clients than are sampled. ``--out`` keeps what is done, a JSON line
each, and the same command goes on with the rest. Some 35 seconds of CPU time for each cell.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from fedsafe.contracts import rules
from fedsafe.errors import RunError
from fedsafe.experiment.load import load
from fedsafe.launch import inline
from fedsafe.runs.records import Summary
from tests.kept import Kept

RULES = (
    *("mean", "median", "trimmed-mean", "geometric-median", "residual", "signguard"),
    *("norm-threshold", "krum", "multi-krum", "nnm+trimmed-mean", "dnc", "foolsgold", "flame"),
    "fltrust",
)
"""A filter and a rule are joined by ``+``."""
SMALL = (
    *("control=false", "defenses=[]", "evaluation.probe_every=0", "evaluation.conditions=plain"),
    "evaluation.suites={name: micro, harmful: 100, over_refusal: 0, old_skills: 0, new_skill: 100}",
)
Found = dict[str, float | None]


@dataclass(frozen=True)
class Cell:
    """One federation of the table."""

    base: str
    seed: int
    rule: str
    sampled: int
    malicious: int

    def byzantine(self) -> int | None:
        """Return the number of byzantine clients that the rule is told; None: it takes none."""
        rule = rules[self.rule.rpartition("+")[2]]
        if "byzantine" not in rule.schema.model_fields:
            return None
        for number in range(self.malicious, 0, -1):
            least = 1 if rule.minimum is None else rule.minimum(byzantine=number)
            if least <= self.sampled and 2 * number < self.sampled:
                return number
        return 0

    def changes(self) -> list[str] | None:
        """Return the changes to the preset; None where the rule needs more clients."""
        prefilter, _, name = self.rule.rpartition("+")
        rule, byzantine = rules[name], self.byzantine()
        told: dict[str, Any] = {} if byzantine is None else {"byzantine": byzantine}
        if byzantine == 0 or (byzantine is None and rule.minimum and rule.minimum() > self.sampled):
            return None
        strategy = {"name": name, **told}
        if prefilter:
            strategy["filters"] = [{"name": prefilter, **told}]
        root = ["federation.root={name: micro, count: 64}"] if "root" in rule.traits else []
        return [
            f"federation.strategy={json.dumps(strategy)}",
            f"federation.sampled={self.sampled}",
            f"attack.malicious={self.malicious}",
            f"seed={self.seed}",
            f"model.path={self.base}",
            *root,
        ]


def measure(cell: Cell, preset: str, changes: Sequence[str]) -> Found:
    """Run one federation, return what was measured; empty: the rule cannot be used or failed."""
    own = cell.changes()
    if own is None:
        return {}
    try:
        with tempfile.TemporaryDirectory() as place:
            summary = inline.run(load(preset, [*SMALL, *own, *changes]), Path(place) / "run")
    except RunError as error:  # with few sampled, some seeds ask no malicious client
        print(error, file=sys.stderr, flush=True)
        return {}
    return figures(summary)


def figures(summary: Summary) -> Found:
    """Return what was measured of the last stage of a run."""
    stage = summary.stages[-1]
    names = ("refusal", "unsafe", "new-skill")
    found: Found = {name: stage.scores.measures[name].value for name in names}
    if (detected := stage.detection) is not None:
        found["influence"] = detected.malicious_influence
        found["share"] = detected.malicious_share
        found |= {"precision": detected.precision, "recall": detected.recall, "auc": detected.auc}
    return found


def rows(found: Mapping[Cell, Found], columns: Sequence[tuple[int, int]]) -> list[str]:
    """Return the table as Markdown, means over bases and seeds."""
    heads = [f"{sampled} sampled, {malicious} malicious" for sampled, malicious in columns]
    lines = [f"| rule | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for rule in dict.fromkeys(cell.rule for cell in found):
        cells = [
            _mean([f for c, f in found.items() if (c.rule, c.sampled, c.malicious) == (rule, *at)])
            for at in columns
        ]
        lines.append(f"| {rule} | {' | '.join(cells)} |")
    return lines


def _mean(found: Sequence[Found]) -> str:
    parts = []
    for name in ("refusal", "new-skill", "influence"):
        values = [value for one in found if (value := one.get(name)) is not None]
        parts.append(f"{100 * sum(values) / len(values):.0f}" if values else "–")  # noqa: RUF001
    return " / ".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rules", nargs="+", default=RULES, metavar="NAME")
    parser.add_argument("--sampled", nargs="+", type=int, default=[3, 10], metavar="N")
    parser.add_argument("--malicious", nargs="+", type=int, default=[1, 3, 5], metavar="N")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N")
    parser.add_argument("--bases", nargs="+", default=["micro"], metavar="NAME")
    parser.add_argument("--preset", default="micro-graded")
    parser.add_argument("--set", nargs="+", default=[], metavar="PATH=VALUE", dest="changes")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE")
    asked = parser.parse_args(arguments)
    kept, found = Kept(asked.out), {}
    columns = list(product(asked.sampled, asked.malicious))
    for base, seed, rule, at in product(asked.bases, asked.seeds, asked.rules, columns):
        cell = Cell(base, seed, rule, *at)
        case = {**asdict(cell), "preset": asked.preset, "changes": asked.changes}
        found[cell] = kept.result(case, partial(measure, cell, asked.preset, asked.changes))
        print(json.dumps({"cell": case, "found": found[cell]}), file=sys.stderr, flush=True)
    print("Refusal / new skill / malicious influence, per cent.\n")
    print("\n".join(rows(found, columns)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
