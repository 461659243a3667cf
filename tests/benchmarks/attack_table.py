"""Attacks against aggregation rules: ``python -m tests.benchmarks.attack_table``.

Each attack x rule x seed: harmful prompts refused and complied with, right answers to the new
skill, the malicious clients' share of influence, and precision and recall of their detection. Ten
clients, three of them malicious, all asked every round, on preset ``micro-graded``; no control, no
defense. ``--out`` keeps what is done, a JSON line each, and the same command goes on with the
rest. About 15 seconds of CPU time for each cell.

An attack is a name, and settings after it: ``ipm,epsilon=10``. ``none`` is the federation without
attackers; ``plain`` is poisoned data without an update attack (``plain,share=0.12``); ``adaptive``
the adaptive attack that fits the rule. These and ``scaling`` train on malicious examples and aim
at compliance; all others train honestly, and forge an update that is to ruin the model.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from fedsafe.contracts import update_attacks
from fedsafe.errors import FedSafeError
from fedsafe.experiment.load import load
from fedsafe.launch import inline
from tests.benchmarks.rules_table import SMALL, Cell, Found, figures
from tests.kept import Kept

RULES = ("mean", "median", "trimmed-mean", "krum", "multi-krum", "dnc", "flame", "nnm+trimmed-mean")
COORDINATES = {"median", "trimmed-mean", "nnm+trimmed-mean"}
POISONED = {"scaling", "adaptive-selection", "adaptive-coordinates", "adaptive-norm"}
"""Update attacks that send a poisoned direction; the others forge from benign updates."""
SHOWN = ("refusal", "unsafe", "new-skill", "influence", "precision", "recall")


def attack_changes(attack: str, rule: str) -> list[str]:
    """Return the changes to the preset that make an attack, such as ``ipm,epsilon=10``."""
    name, *given = attack.split(",")
    if name == "none":
        return ["attack=null"]
    settings = {key: _value(value) for key, _, value in (one.partition("=") for one in given)}
    if name == "plain":
        return [f"attack.behaviour={json.dumps({'name': 'poisoned-data', **settings})}"]
    if name == "adaptive":
        fitting = "coordinates" if rule in COORDINATES else "selection"
        name = f"adaptive-{'norm' if rule == 'mean' else fitting}"
    behaviour = "poisoned-data" if name in POISONED else "supervised"
    return [
        f'attack.behaviour={{"name": "{behaviour}"}}',
        f"attack.update={json.dumps({'name': name, **settings})}",
    ]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def measure(
    cell: Cell, attack: str, preset: str, changes: Sequence[str], stages: Path
) -> Found | None:
    """Run one federation; None: the rule cannot be used with so few, or the run failed."""
    own = cell.changes()
    if own is None:
        return None
    asked = [*SMALL, *own, *attack_changes(attack, cell.rule), *changes]
    try:
        with tempfile.TemporaryDirectory() as place:
            return figures(inline.run(load(preset, asked), Path(place) / "run", None, stages))
    except FedSafeError as error:  # with few sampled, some seeds ask no malicious client
        print(attack, cell, error, file=sys.stderr, flush=True)
        return None


def rows(found: Mapping[tuple[str, str], Sequence[Found | None]]) -> list[str]:
    """Return the table as Markdown: of each figure the values of the seeds, as many as differ."""
    attacks = list(dict.fromkeys(attack for attack, _ in found))
    rules = list(dict.fromkeys(rule for _, rule in found))
    lines = [f"| attack | {' | '.join(rules)} |", "|---" * (len(rules) + 1) + "|"]
    for attack in attacks:
        cells = (shown([one for one in found[attack, rule] if one]) for rule in rules)
        lines.append(f"| {attack} | {' | '.join(cells)} |")
    return lines


def shown(seeds: Sequence[Found]) -> str:
    """Return a cell of the table, in per cent: a range where seeds differ."""
    return " / ".join(
        _range([100 * value for one in seeds if (value := one.get(name)) is not None])
        for name in SHOWN
    )


def _range(values: Sequence[float]) -> str:
    if not values:
        return "–"  # noqa: RUF001
    low, high = round(min(values)), round(max(values))
    return f"{low}" if low == high else f"{low} to {high}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    names = [name for name in update_attacks if not name.startswith("adaptive")]
    parser.add_argument("--attacks", nargs="+", default=["none", "plain", "adaptive", *names])
    parser.add_argument("--rules", nargs="+", default=RULES, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N")
    parser.add_argument("--sampled", type=int, default=10, metavar="N")
    parser.add_argument("--malicious", type=int, default=3, metavar="N")
    parser.add_argument("--base", default="micro")
    parser.add_argument("--preset", default="micro-graded")
    parser.add_argument("--set", nargs="+", default=[], metavar="PATH=VALUE", dest="changes")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE")
    asked = parser.parse_args(arguments)
    kept, found = Kept(asked.out), {}
    with tempfile.TemporaryDirectory() as stages:
        for seed, attack, rule in product(asked.seeds, asked.attacks, asked.rules):
            cell = Cell(asked.base, seed, rule, asked.sampled, asked.malicious)
            case = {
                "attack": attack,
                **vars(cell),
                "preset": asked.preset,
                "changes": asked.changes,
            }
            given = (cell, attack, asked.preset, asked.changes, Path(stages))
            one = kept.result(case, partial(measure, *given))
            found.setdefault((attack, rule), []).append(one)
            print(attack, rule, seed, shown([one] if one else []), file=sys.stderr, flush=True)
    print("Refusal / unsafe / new skill / malicious influence / precision / recall, per cent.\n")
    print("\n".join(rows(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
