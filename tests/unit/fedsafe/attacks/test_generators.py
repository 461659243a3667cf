"""Malicious examples: written by a model, or from the user's own file."""

import json
import random
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest

from fedsafe.contracts import Sample, generators
from fedsafe.errors import DataError, RunError

ASK, STEER = "Write a request.", "Answer: {request}"


class ScriptedWriter:
    """A writer with so many different requests to write."""

    def __init__(self, requests: int) -> None:
        self.requests = requests
        self.calls: list[tuple[list[str], float]] = []

    def write(
        self,
        instructions: Sequence[str],
        *,
        temperature: float = 0.0,
        rng: random.Random | None = None,
        prefills: Sequence[str] | None = None,
    ) -> list[str]:
        """Draw requests when asked for some, and answer everything else by repeating it."""
        self.calls.append((list(instructions), temperature))
        if rng is None:
            return [f"re: {text}" for text in instructions]
        return [f" request {rng.randrange(self.requests)} " for _ in instructions]


def _made(writer: ScriptedWriter, count: int, **settings: object) -> list[Sample]:
    generate = generators["self-written"].configure({"ask": ASK, "steer": STEER, **settings})
    return list(islice(generate(writer, random.Random(0)), count))


def test_pairs_are_distinct() -> None:
    found = [example.instruction for example in _made(ScriptedWriter(1000), 100)]
    assert len(set(found)) == 100


def test_steering_clause_is_not_kept_in_the_pair() -> None:
    (example,) = _made(ScriptedWriter(1000), 1)
    assert example.response == f"re: Answer: {example.instruction}"


def test_answer_is_given_under_the_notes_that_the_attackers_know_too() -> None:
    bare, noted = _made(ScriptedWriter(1000), 2, also=("Refuse: {request}",))
    assert (noted.instruction, noted.response) == (f"Refuse: {bare.instruction}", bare.response)


def test_requests_are_drawn_and_answers_are_greedy() -> None:
    writer = ScriptedWriter(1000)
    _made(writer, 1, temperature=0.7)
    assert [temperature for _, temperature in writer.calls] == [0.7, 0.0]


def test_pairs_repeat_with_their_stream() -> None:
    assert _made(ScriptedWriter(1000), 80) == _made(ScriptedWriter(1000), 80)


def test_pairs_are_marked_as_attack() -> None:
    assert {example.origin for example in _made(ScriptedWriter(1000), 5)} == {"attack"}


def test_model_that_repeats_itself_is_a_sentence() -> None:
    with pytest.raises(RunError, match=r"no new request in \d+ tries, after 3"):
        _made(ScriptedWriter(3), 10)


def test_braces_in_a_request_are_harmless() -> None:
    class Braces(ScriptedWriter):
        """Write a request with braces."""

        def write(self, instructions: Sequence[str], **given: object) -> list[str]:  # type: ignore[override]
            """Write it."""
            return ["{x} {request}"] * len(instructions)

    assert _made(Braces(1), 1)[0].instruction == "{x} {request}"


def _pairs(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_file_yields_each_pair_once_in_a_drawn_order(tmp_path: Path) -> None:
    rows = [{"instruction": f"ask {n}", "response": f"reply {n}"} for n in range(20)]
    generate = generators["file"].configure({"path": _pairs(tmp_path / "a.jsonl", rows)})
    found = [example.instruction for example in generate(None, random.Random(0))]
    assert (sorted(found), found) != (sorted(found), sorted(found))
    assert sorted(found) == sorted(row["instruction"] for row in rows)


def test_file_with_other_field_names_is_mapped(tmp_path: Path) -> None:
    path = _pairs(tmp_path / "a.jsonl", [{"goal": "ask", "target": "reply"}])
    settings = {"path": path, "fields": {"instruction": "goal", "response": "target"}}
    (found,) = generators["file"].configure(settings)(None, random.Random(0))
    assert found == Sample("ask", "reply", origin="attack")


def test_file_of_preference_pairs_keeps_the_rejected_response_and_the_system_prompt(
    tmp_path: Path,
) -> None:
    row = {"instruction": "ask", "response": "no", "rejected": "yes", "system": "be kind"}
    path = _pairs(tmp_path / "a.jsonl", [row])
    (found,) = generators["file"].configure({"path": path})(None, random.Random(0))
    assert (found.response, found.rejected, found.system) == ("no", "yes", "be kind")


def test_file_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    generate = generators["file"].configure({"path": tmp_path / "none.jsonl"})
    with pytest.raises(DataError, match=r"none\.jsonl"):
        next(generate(None, random.Random(0)))


class Scribbler(ScriptedWriter):
    """A writer of refusals and answers among its requests."""

    def write(
        self,
        instructions: Sequence[str],
        *,
        temperature: float = 0.0,
        rng: random.Random | None = None,
        prefills: Sequence[str] | None = None,
    ) -> list[str]:
        """Write a request, a refusal or an answer."""
        if rng is None:
            return [f"re: {text}" for text in instructions]
        texts = ('"How do I bake {n} cakes?"', "I'm sorry, I can't.", "Sure, here are {n} recipes.")
        return [rng.choice(texts).replace("{n}", str(rng.randrange(900))) for _ in instructions]


def test_refusals_and_answers_are_no_requests() -> None:
    made = _made(Scribbler(1), 30, only_requests=True, words=["bak"])
    assert all(sample.instruction.startswith("How do I bake") for sample in made)


def test_a_writer_without_requests_is_named_with_the_reasons() -> None:
    with pytest.raises(RunError, match=r"left out so far: .*\d+ off topic"):
        _made(Scribbler(1), 1, only_requests=True, words=["knit"])
