"""Wrong and odd experiments by the thousand: files and changes, drawn from a seed.

``python -m tests.properties.experiment_inputs 4000`` checks so many through the command
line's own `main` and prints what came of them.
"""

import contextlib
import io
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fedsafe.cli import main
from fedsafe.experiment import load, read_preset
from fedsafe.experiment.load import as_yaml
from fedsafe.experiment.names import all_paths

PRESETS = ("micro", "micro-quick", "paper", "qlora-7b")
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 10**9, 10**30, -(10**400), 2**63, 0.5, -0.0, 1e308, 1e-320,
    "", " ", "yes", "no", "on", "off", "1:30", "010", "0x1F", "1_000", "2026-11-28", "1e5", ".5",
    "null", "~", "é", "日本", "\u202e", "a\nb", "\t", "🜏" * 300, "x" * 5000, "../..", "~/nowhere",
    "os:system", "json:loads", "builtins:len", "no.such:thing", ":", "a:", ":b", "micro", "mean",
    [], {}, [[]], [None], [1, 2], ["a"], {"name": None}, {"name": 3}, {"name": []}, {"": 1},
    {"name": "mean", "x": {"y": [1, {"z": None}]}}, {"name": "krum", "byzantine": True},
    {"name": "krum", "byzantine": "1"}, {"name": "jsonl"}, {"name": "jsonl", "path": 3},
    {"name": "micro", "topics": [3]}, [{"name": "fine-tune", "steps": "many"}], [{"nam": "micro"}],
)  # fmt: skip
NAMES = (
    "rounds", "lr", "num_clients", "batch", "epochs", "modle", "Rank", "learning-rate", "seeds",
    "clientz", "", " ", "é", "日本", "\u202e", "name", "x" * 300, "a.b", "[0]", "0", "__class__",
    "model_config", "path", "settings", "self", "values", "preset",
)  # fmt: skip
TEXTS = (
    "", "\n", "---", "- a", "3", "word", "{}", "{", "[", "]", "a: b: c", "\tx: 1", "? a",
    "? [a]: b",
    "1: 2", "null: 1", "true: 1", "seed: 1\nseed: 2", "seed: &a 1\nname: *a", "a: &a [*a]",
    "a: *nobody", "x: !!python/object:os.system {}", "seed: !!int '3'", "seed: !!float 3",
    "seed: !!binary aGk=", "seed: !!set {a}", "seed: !!timestamp 2026-01-01", "seed: .inf",
    "training: {learning_rate: .nan}", "seed: 0o17", "seed: 017", "seed: 1__0", "seed: +3",
    "red_team: yes", "red_team: 'true'", "red_team: TRUE", "red_team: on", "name: 2026-11-28",
    "--- {}\n--- {}", "%YAML 1.1\n--- {}", "<<: {seed: 3}", "seed: |\n  3", "name: >\n  a",
    'name: "\\ud800"', 'name: "a\\0b"', "\ufeffseed: 3", "preset: micro\npreset: paper",
    "preset: nobody", "preset: 3", "preset: [micro]", "preset: .", "preset: my.yaml",
    "federation: {strategy: {name: krum, name: mean}}", "defenses: {name: fine-tune}\ndefenses: []",
    "a: " * 60, "[" * 2000, "{a: " * 300, "- " * 500, "seed: " + "9" * 6000, "seed: 1e400",
    "a: &a {b: 1}\nc: &c [*a, *a]\nd: &d [*c, *c]\ne: [*d, *d]", "seed: 3 # ok", "seed : 3",
    "&a : 3", "*", "&", "!", "@a", "`a`", "%", "'", '"', "name: 'a", "name: {", "\x00", "\x85",
)  # fmt: skip
PYDANTIC = (
    "Input should", "valid dictionary", "PluginChoice", "Field required", "Extra inputs",
    "Value error", "unable to parse", "should match pattern", "String should", "pydantic",
    "instance of", "Traceback", "something unforeseen", "RecursionError",
)  # fmt: skip
"""Words that no message may have."""


@dataclass(frozen=True)
class Input:
    """An experiment as a user gives it."""

    kind: str
    text: str
    changes: tuple[str, ...] = ()


def inputs(count: int, seed: int = 0) -> Iterator[Input]:
    """Yield so many inputs, every kind in turn."""
    rng = random.Random(seed)
    kinds = (_wrong_value, _wrong_change, _unknown_name, _odd_text, _torn_preset, _several)
    for number in range(count):
        yield kinds[number % len(kinds)](rng)


def fault_of(given: Input, directory: Path) -> tuple[str, str]:
    """Return the outcome of an input, ``valid`` or ``refused``, and what is wrong with that."""
    file = directory / "my.yaml"
    file.write_bytes(given.text.encode("utf-8", errors="surrogatepass"))
    options = [part for change in given.changes for part in ("--set", change)]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["run", str(file), "--dry-run", "-o", str(directory / "out"), *options])
    told = err.getvalue()
    if code == 0:
        experiment = load(file, given.changes)
        file.write_text(as_yaml(experiment), encoding="utf-8")
        return "valid", "" if load(file) == experiment else "it does not load back"
    if code != 2:
        return "refused", f"exit code {code}: {told[:300]}"
    if found := [word for word in PYDANTIC if word in told]:
        return "refused", f"{found} in: {told[:500]}"
    lines = told.splitlines()
    if lines and lines[0].endswith((" problem:", " problems:")):
        nameless = [line for line in lines[1:] if line.startswith("  ") and ": " not in line]
        return "refused", f"no field in: {nameless}" if nameless else ""
    return "refused", "" if str(file) in told or "preset" in told else f"no file in: {told[:300]}"


def _wrong_value(rng: random.Random) -> Input:
    values = yaml.safe_load(read_preset(rng.choice(PRESETS)))
    _put(values, rng.choice(all_paths()), rng.choice(VALUES))
    return Input("wrong value", yaml.safe_dump(values))


def _wrong_change(rng: random.Random) -> Input:
    value = rng.choice(VALUES)
    text = yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()
    path = rng.choice([*all_paths(), "defenses.0.steps", "defenses[0].name", "evaluation.suites.9"])
    shape = rng.choice(
        ("{path}={text}", "{path}.{name}={text}", "{path}", "={text}", "{name}={raw}")
    )
    change = shape.format(path=path, text=text, name=rng.choice(NAMES), raw=rng.choice(TEXTS))
    return Input("wrong change", "preset: micro\n", (change.replace("\0", ""),))


def _unknown_name(rng: random.Random) -> Input:
    values = yaml.safe_load(read_preset(rng.choice(PRESETS)))
    above = rng.choice(all_paths()).rpartition(".")[0]
    name = rng.choice(NAMES)
    _put(values, f"{above}.{name}" if above and "." not in name else name or "x", 3)
    return Input("unknown name", yaml.safe_dump(values, allow_unicode=rng.random() < 0.5))


def _odd_text(rng: random.Random) -> Input:
    text = rng.choice(TEXTS)
    return Input("odd text", text if rng.random() < 0.6 else f"preset: micro\n{text}\n")


def _torn_preset(rng: random.Random) -> Input:
    lines = read_preset(rng.choice(PRESETS)).splitlines()
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(lines))
        lines[place] = rng.choice(
            (
                "", lines[place] * 2, f" {lines[place]}", lines[place].strip(),
                lines[place].replace(":", "", 1), lines[place].replace(" ", "\t", 1),
                f"{lines[place]} {rng.choice(TEXTS)}", rng.choice(lines), lines[place][::-1],
                lines[place].replace(rng.choice("aeiou{}[],:"), rng.choice("aeiou{}[],:'\"&*!"), 1),
            )
        )  # fmt: skip
    return Input("torn preset", "\n".join(lines))


def _several(rng: random.Random) -> Input:
    changes = tuple(
        change for _ in range(rng.randint(2, 5)) for change in _wrong_change(rng).changes
    )
    return Input("several", f"preset: {rng.choice(PRESETS)}\n", changes)


def _put(values: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    for key in above:
        below = values.get(key)
        if not isinstance(below, dict):
            below = {"name": below} if isinstance(below, str) else {}
            values[key] = below
        values = below
    values[last] = value


def _report(count: int) -> int:
    outcomes: Counter[tuple[str, str]] = Counter()
    faults: list[tuple[Input, str]] = []
    with tempfile.TemporaryDirectory() as name:
        for given in inputs(count):
            try:
                outcome, fault = fault_of(given, Path(name))
            except Exception as error:  # noqa: BLE001 - this is what is looked for
                outcome, fault = "raised", f"{type(error).__name__}: {error}"
            outcomes[given.kind, outcome] += 1
            faults += [(given, fault)] if fault else []
    lines = [f"{kind:<14} {outcome:<8} {n:>6}" for (kind, outcome), n in sorted(outcomes.items())]
    lines += [f"FAULT {fault}\n  {str(given)[:300]}" for given, fault in faults[:20]]
    lines += [f"{count} inputs, {len(faults)} faults"]
    sys.stdout.write("\n".join(lines) + "\n")
    return min(len(faults), 1)


if __name__ == "__main__":
    sys.exit(_report(int(sys.argv[1])))
