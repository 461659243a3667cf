"""Update attacks against aggregation rules on the micro world: who breaks what.

    python -m tests.benchmarks.attack_table -o DIR                    # every attack, every rule
    python -m tests.benchmarks.attack_table -o DIR --attacks adaptive plain --rules krum dnc
    python -m tests.benchmarks.attack_table -o DIR --seeds 0 1 2 --preset micro

Ten clients, three of them malicious, all asked every round. Without --preset the size of
micro-quick with three rounds of eight steps. Each cell is a run of `fedsafe run` in DIR; runs share
finished stages there, so that the base and each rule's clean control are made once, and the same
command goes on after an interruption. Prints a Markdown table and leaves ``table.json``.

"plain" is poisoned-data without an update attack, "adaptive" the adaptive attack that fits the
rule; these two and "scaling" train on malicious examples, the others train honestly and forge.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from fedsafe.contracts import update_attacks
from fedsafe.errors import FedSafeError
from fedsafe.experiment import Experiment, load
from fedsafe.launch import inline

F = 3
RULES: dict[str, dict[str, Any]] = {
    "mean": {"name": "mean"},
    "median": {"name": "median"},
    "trimmed-mean": {"name": "trimmed-mean", "byzantine": F},
    "krum": {"name": "krum", "byzantine": F},
    "multi-krum": {"name": "multi-krum", "byzantine": F},
    "dnc": {"name": "dnc", "byzantine": F},
    "flame": {"name": "flame"},
    "nnm+trimmed-mean": {
        "name": "trimmed-mean",
        "byzantine": F,
        "filters": [{"name": "nnm", "byzantine": F}],
    },
}
COORDINATES = {"median", "trimmed-mean", "nnm+trimmed-mean"}
POISONED = {"scaling", "adaptive-selection", "adaptive-coordinates", "adaptive-norm"}
"""Update attacks that send a poisoned direction; the others forge from benign updates."""
SMALL = [
    "training.steps=8",
    "federation.rounds=3",
    "evaluation.conditions=[plain]",
    "evaluation.probe_every=0",
    "evaluation.suites={name: micro, harmful: 40, over_refusal: 1, old_skills: 1, new_skill: 40}",
]


def experiment(attack: str, rule: str, seed: int, preset: str | None, knows: str) -> Experiment:
    """Return the experiment of one cell."""
    name = attack
    if attack == "adaptive":
        name = "adaptive-coordinates" if rule in COORDINATES else "adaptive-selection"
        name = "adaptive-norm" if rule == "mean" else name
    update: dict[str, Any] | None = None if attack == "plain" else {"name": name}
    if update and "knows" in update_attacks[name].schema.model_fields:
        update |= {"knows": knows} if name in POISONED else {}
    behaviour = "poisoned-data" if attack == "plain" or name in POISONED else "supervised"
    settings: dict[str, Any] = {
        "seed": seed,
        "federation.clients": 10,
        "federation.strategy": RULES[rule],
        "attack.malicious": F,
        "attack.behaviour": behaviour,
        "attack.update": update,
        "defenses": [],
    }
    changes = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    return load(preset or "micro-quick", [*changes, *([] if preset else SMALL)])


def cell(summary: dict[str, Any]) -> dict[str, float | None]:
    """Return a run's figures."""
    stages = {stage["name"]: stage for stage in summary["stages"]}
    found: dict[str, float | None] = {}
    for name in {"clean", "attacked"} & stages.keys():
        for measure in ("refusal", "new-skill"):
            found[f"{name} {measure}"] = stages[name]["scores"]["measures"][measure]["value"]
    detection = stages["attacked"]["detection"] or {}
    for figure in ("malicious_influence", "precision", "recall"):
        found[figure] = detection.get(figure)
    return found


def run_cell(given: Experiment, home: Path, shared: Path) -> dict[str, Any]:
    """Run a cell, or read what an earlier call left of it."""
    path = home / "summary.json"
    try:
        done = path.exists() and json.loads(path.read_text())["status"] == "completed"
        if not done:
            inline.run(given, home, None, shared)
        return cell(json.loads(path.read_text()))
    except FedSafeError as error:
        return {"error": str(error)}


def shown(figures: dict[str, Any]) -> str:
    """Return a cell of the Markdown table."""
    if "error" in figures:
        return "failed"

    def percent(name: str) -> str:
        value = figures[name]
        return "-" if value is None else f"{100 * value:.0f}"

    names = ("attacked refusal", "attacked new-skill", "malicious_influence", "precision", "recall")
    return " / ".join(map(percent, names))


def write_table(rows: list[dict[str, Any]], home: Path) -> str:
    """Write the figures so far, and return them as a Markdown table: means over seeds."""
    (home / "table.json").write_text(json.dumps(rows, indent=1))
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    rules = list(dict.fromkeys(row["rule"] for row in rows))
    seeds = sorted({row["seed"] for row in rows})
    lines = []
    for seed in seeds:
        lines += [f"Seed {seed}: refusal / new skill / malicious influence / precision / recall, %"]
        lines += ["", f"| attack | {' | '.join(rules)} |", "|---" * (len(rules) + 1) + "|"]
        for attack in ["clean", *attacks]:
            cells = []
            for rule in rules:
                here = [r for r in rows if (r["rule"], r["seed"]) == (rule, seed)]
                if attack == "clean":
                    clean = next(
                        (r["figures"] for r in here if "clean refusal" in r["figures"]), None
                    )
                    pair = ("clean refusal", "clean new-skill")
                    cells.append("/".join(f"{100 * clean[k]:.0f}" for k in pair) if clean else "")
                else:
                    own = [r["figures"] for r in here if r["attack"] == attack]
                    cells.append(shown(own[0]) if own else "")
            lines.append(f"| {attack} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Run the cells that are missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    names = [name for name in update_attacks if not name.startswith("adaptive")]
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--attacks", nargs="+", default=["plain", "adaptive", *names])
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=list(RULES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--preset", help="A preset's own size, such as micro; with ten clients.")
    parser.add_argument("--no-control", action="store_true", help="Leave the clean controls out.")
    parser.add_argument("--knows", default="colluders", help="Of the adaptive attacks: or all.")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for seed in asked.seeds:
        for attack in asked.attacks:
            for rule in asked.rules:
                given = experiment(attack, rule, seed, asked.preset, asked.knows)
                knows = asked.knows if attack.startswith("adaptive") else ""
                label = f"{attack}{f' ({knows})' if knows else ''}"
                given = given.model_copy(update={"control": not asked.no_control})
                home = asked.output / f"{attack}{knows}-{rule}-{seed}"
                figures = run_cell(given, home, asked.output / "stages")
                rows.append({"attack": label, "rule": rule, "seed": seed, "figures": figures})
                print(label, rule, seed, figures.get("error") or shown(figures), flush=True)
                table = write_table(rows, asked.output)
    print("\n" + table)


if __name__ == "__main__":
    main()
