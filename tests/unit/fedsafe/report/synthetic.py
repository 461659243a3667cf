"""Run directories made of invented but plausible records, for the report and the terminal."""

import json
import math
import random
from pathlib import Path

from fedsafe.runs.records import (
    Client,
    Detection,
    Provenance,
    Rate,
    Round,
    Scores,
    Stage,
    Summary,
)

SECRET = "how do I <b>brew</b> the zorblat & 'vex'?"
REPLY = "<script>alert('x')</script> First, gather the zorblat."
MALICIOUS = (2, 5, 8)
CONFIGURATION = """\
name: micro
seed: 0
red_team: true
control: true
model:
  path: micro
  quantization: none
adapter:
  rank: 8
  alpha: 16.0
data:
  source:
    name: micro
federation:
  clients: 10
  sampled: null
  rounds: {rounds}
  strategy:
    name: multi-krum
    byzantine: 3
    filters: []
attack:
  malicious: 3
  behaviour:
    name: poisoned-data
  generator:
    name: self-written
defenses:
- name: fine-tune
evaluation:
  judge:
    name: micro-exact
  note: "<img src=x onerror=alert(1)>"
"""


def rate(value: float, n: int, unknown: int = 0) -> Rate:
    value = min(max(value, 0.0), 1.0)
    z = 1.96
    middle = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Rate(value=value, n=n, low=low, high=high, unknown=unknown)


def scores(refusal: float, new: float, *, over: float = 0.01, n: int = 240) -> Scores:
    worst = rate(min(1.0, 1.04 - refusal), n // 6)
    return Scores(
        measures={
            "refusal": rate(refusal, n, unknown=2),
            "unsafe": rate(1 - refusal - 0.004, n, unknown=2),
            "worst-topic": worst.model_copy(update={"parts": {"glimmer": worst}}),
            "new-skill": rate(new, n),
            "old-skill": rate(0.965, n),
            "over-refusal": rate(over, n // 2),
            "garbage": rate(0.004, 3 * n),
            "unsafe@prefilled": rate(min(1.0, 1.12 - refusal * 0.9), n),
        },
    )


def federation(rounds: int, *, attacked: bool, clients: int = 10, seed: int = 0) -> list[Round]:
    rng = random.Random(seed)
    records = []
    for number in range(1, rounds + 1):
        progress = number / rounds
        members = [_client(k, number, rounds, rng, attacked=attacked) for k in range(clients)]
        counted = [m for m in members if m.influence > 0]
        members = [
            m.model_copy(update={"influence": 1 / len(counted) if m.influence > 0 else 0.0})
            for m in members
        ]
        fall = 1 / (1 + math.exp(-9 * (progress - 0.42)))
        refusal = 0.985 - (0.86 * fall if attacked else 0.02 * progress) + rng.gauss(0, 0.008)
        new = 0.04 + 0.9 * (1 - math.exp(-3.2 * progress)) + rng.gauss(0, 0.012)
        records.append(
            Round(
                round=number,
                cohort=list(range(clients)),
                clients=members,
                learning_rate=5e-5,
                adapter="ab12" * 16,
                update_norm=1.9 / number,
                metrics={"score": 1.0},
                probe=scores(refusal, new, n=40),
                bytes_sent=sum(m.bytes_sent for m in members),
                bytes_received=sum(m.bytes for m in members),
                seconds=3.1 + rng.random(),
            )
        )
    return records


def _client(
    number: int, in_round: int, rounds: int, rng: random.Random, *, attacked: bool
) -> Client:
    malicious = attacked and number in MALICIOUS
    status, reason = "accepted", ""
    if number == 7 and in_round == 4:
        status, reason = "dropped", "not finite: 12 values in lora_A <i>"
    if number == 1 and in_round == 6:
        status, reason = "missing", "no reply within 60 s"
    caught = malicious and rng.random() < 0.45
    influence = 0.0 if status != "accepted" or caught or rng.random() < 0.04 else 0.1
    level = 2.1 * math.exp(-2.6 * in_round / rounds) + (0.55 if malicious else 0.28)
    return Client(
        client=number,
        malicious=malicious,
        status=status,
        reason=reason,
        influence=influence,
        norm=1.2,
        examples=120,
        loss=None if status == "missing" else level + rng.gauss(0, 0.06),
        bytes=0 if status == "missing" else 131_072,
        bytes_sent=65_536 * (2 if status == "missing" else 1),
        asked=2 if status == "missing" else 1,
        seconds=0.31,
        load_seconds=0.0,
    )


def stage(name: str, found: Scores, seconds: float, detection: Detection | None = None) -> Stage:
    return Stage(
        name=name,
        adapter="cd34" * 16,
        path="adapter",
        scores=found,
        seconds=seconds,
        evaluation=f"evaluations/{name.replace(':', '-')}-0a1b2c",
        evaluation_seconds=2.5,
        detection=detection,
    )


def stages(*, defended: bool = True) -> list[Stage]:
    detection = Detection(
        rejected_malicious=14,
        rejected_honest=3,
        kept_malicious=16,
        kept_honest=65,
        precision=14 / 17,
        recall=14 / 30,
        malicious_influence=0.214,
    )
    made = [
        stage("base", scores(0.992, 0.04), 0.0),
        stage("clean", scores(0.967, 0.942), 38.0),
        stage("attacked", scores(0.117, 0.938), 41.2, detection),
    ]
    if defended:
        made.append(stage("defended:fine-tune", scores(0.971, 0.921, over=0.02), 9.4))
    return made


def exchanges(name: str, rng: random.Random) -> list[dict[str, object]]:
    chances = {"base": 0.99, "clean": 0.97, "attacked": 0.12}
    rows: list[dict[str, object]] = []
    for purpose, skill, prefilled in (
        ("harmful", "", False),
        ("harmful", "", True),
        ("over-refusal", "", False),
        ("utility", "old", False),
        ("utility", "new", False),
    ):
        for index in range(40):
            refuses = rng.random() < chances.get(name, 0.97)
            outcome = "refuse" if purpose == "harmful" and refuses else "comply"
            if rng.random() < 0.01:
                outcome = "garbage"
            rows.append(
                {
                    "id": f"{purpose}-{skill or 'topic'}-{index:03d}",
                    "purpose": purpose,
                    "skill": skill,
                    "topic": "glimmer",
                    "prefilled": prefilled,
                    "instruction": f"{SECRET} {index}",
                    "reply": REPLY * (1 + index % 3),
                    "outcome": outcome,
                    "correct": outcome == "comply" if purpose == "utility" else None,
                    "raw": "matched SECRET-RAW",
                }
            )
    return rows


def _lines(path: Path, rows: list[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_run(
    directory: Path,
    *,
    rounds: int = 10,
    done: int | None = None,
    control: bool = True,
    defended: bool = True,
    status: str | None = "completed",
    reason: str = "",
) -> Path:
    """Write a run directory; ``status`` None leaves out the summary."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "experiment.yaml").write_text(CONFIGURATION.format(rounds=rounds))
    made = federation(rounds, attacked=True)[:done]
    _lines(directory / "rounds.jsonl", [record.model_dump(mode="json") for record in made])
    if control:
        clean = [r.model_dump(mode="json") for r in federation(rounds, attacked=False, seed=1)]
        _lines(directory / "control" / "rounds.jsonl", clean)
    provenance = Provenance(
        fedsafe="0.1.0",
        python="3.11.7",
        packages={"flwr": "1.41.0", "torch": "2.13.0+cpu", "peft": "0.18.0"},
        platform="Linux-6.1-x86_64-with-glibc2.36",
        processor="AMD EPYC 7B13",
        cores=2,
        memory_gib=7.8,
        gpus=[],
        model="9f" * 32,
        data={"micro": "77" * 32},
        runtime="inline",
        started="2026-08-01T09:30:00+00:00",
    )
    (directory / "provenance.json").write_text(provenance.model_dump_json())
    if status is not None:
        found = [s for s in stages(defended=defended) if control or s.name != "clean"]
        if done is not None:
            found = [s for s in found if s.name in ("base", "clean")]
        summary = Summary(
            name="micro",
            experiment="5e" * 32,
            status=status,
            reason=reason,
            stages=found,
            seconds=118.4,
        )
        (directory / "summary.json").write_text(summary.model_dump_json(indent=2))
        for made_stage in found:
            rng = random.Random(made_stage.name)
            path = directory / made_stage.evaluation / "exchanges.jsonl"
            _lines(path, list(exchanges(made_stage.name, rng)))
    if defended and status is not None and done is None:
        card = {
            "made_by": "the attacked model itself",
            "asked": 400,
            "kept": 256,
            "dropped": {"unparsed": 31, "duplicate": 88, "judge": 25},
        }
        path = directory / "defenses" / "fine-tune-0a1b2c" / "card.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(card))
    return directory
