"""Graded measures, and the suites and sources of the skills that they grade."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from fedsafe.contracts import (
    Exchange,
    Measured,
    Prompt,
    Sample,
    Verdict,
    conditions,
    measures,
    sources,
    suites,
)
from fedsafe.errors import ConfigError, DataError
from fedsafe.evaluation.asking import put
from fedsafe.evaluation.judging import judge
from fedsafe.evaluation.scoring import scores
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.training.likelihood import of_responses
from fedsafe.training.session import Session, resident
from tests.unit.fedsafe.data.styles import SHARED

DIALOGUES = [
    {
        "dialogue": "Ana: Are you coming?\nBen: I'm still at work.\nAna: Eight is fine too.",
        "summary": "Ana and Ben will meet at eight because Ben is still at work.",
    },
    {
        "dialogue": "Iva: My bike was stolen!\nTom: Take my old one.\nIva: You are a star.",
        "summary": "Tom lends Iva his old bike as hers was stolen.",
    },
]


def graded(measure: str, *pairs: tuple[str, str], skill: str = "new") -> Measured | None:
    judged = [
        (
            Exchange(Prompt(str(n), "?", "utility", expected=(wanted,), skill=skill), said),
            Verdict("comply"),
        )
        for n, (said, wanted) in enumerate(pairs)
    ]
    return measures[measure].configure({"skill": "new"})(judged)


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("SELECT Name FROM ships WHERE Port = 'Osk'", 1.0),
        ("select name from ships where port = 'osk'", 1.0),
        ("I'm not sure about that.", 0.1),
        ("", 0.0),
    ],
)
def test_token_f1_grades_a_query(said: str, value: float) -> None:
    found = graded("token-f1", (said, "SELECT Name FROM ships WHERE Port = 'Osk'"))
    assert found is not None
    assert found.value == pytest.approx(value, abs=0.05)


def test_rouge_1_is_that_of_the_package() -> None:
    said, wanted = "Tom gives Iva a bike.", "Tom lends Iva his old bike."
    found = graded("rouge-1", (said, wanted))
    assert found is not None
    assert found.value == pytest.approx(2 * 3 / (5 + 6))


def test_rouge_l_counts_words_in_order() -> None:
    found = graded("rouge-l", ("c b a", "a b c"))
    assert found is not None
    assert found.value == pytest.approx(1 / 3)


def test_a_graded_mean_has_students_interval() -> None:
    found = graded("token-f1", ("a", "a"), ("b", "a"), ("a", "a"), ("a", "a"))
    assert found is not None
    assert (found.value, found.n, found.high) == (0.75, 4, 1.0)
    assert found.low == 0.0


def test_other_skills_are_not_counted() -> None:
    assert graded("rouge-1", ("a", "a"), skill="old") is None


def test_a_forced_beginning_is_not_graded() -> None:
    prompt = Prompt("1", "?", "utility", expected=("two",), skill="new")
    judged = [(Exchange(prompt, "One two", "prefilled", "One"), Verdict("comply"))]
    found = measures["token-f1"].configure({"skill": "new"})(judged)
    assert found is not None
    assert found.value == 1.0


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])
def test_dialogues_are_read_from_the_users_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"talks{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(DIALOGUES))
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in DIALOGUES))
    else:
        rows = [f'"{row["dialogue"]}","{row["summary"]}"' for row in DIALOGUES]
        path.write_text("\n".join(["dialogue,summary", *rows]))
    asked = suites["dialogues"].configure({"path": path})(0)
    assert sorted(p.expected[0] for p in asked) == sorted(row["summary"] for row in DIALOGUES)
    assert all(p.instruction.startswith("Summarize") and "\n" in p.instruction for p in asked)
    trained = sources["dialogues"].configure({"path": path})(0)
    assert {s.instruction for s in trained} == {p.instruction for p in asked}


def test_a_dialogue_without_summary_is_named(tmp_path: Path) -> None:
    path = tmp_path / "talks.json"
    path.write_text(json.dumps([{**DIALOGUES[0], "summary": " "}]))
    with pytest.raises(DataError, match=r"talks.json.*'summary' is empty"):
        suites["dialogues"].configure({"path": path})(0)


def test_wikisql_rows_become_questions_on_a_table() -> None:
    path = SHARED / "wikisql" / "test.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    asked = suites["sql"].configure({"path": path, "limit": 100})(0)
    assert len(asked) == 100
    assert all(prompt.expected[0].startswith("SELECT ") for prompt in asked)
    assert all("\nColumns: " in p.instruction and "\nQuestion: " in p.instruction for p in asked)
    assert len({prompt.group for prompt in asked}) > 5


def test_a_file_that_is_not_wikisqls_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "Q: how many?"}\n')
    with pytest.raises(DataError, match="four lines table:, columns:, Q: and A:"):
        sources["sql"].configure({"path": path})(0)


def test_last_rows_of_an_instruction_file_are_held_out(tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {n}.", "input": "", "output": str(n)} for n in range(9)]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    asked = suites["instructions"].configure({"path": path, "limit": 3})(0)
    assert [prompt.expected for prompt in asked] == [("6",), ("7",), ("8",)]


def test_a_mixture_holds_every_example_of_its_sources() -> None:
    of: list[dict[str, Any]] = [{"name": "sql", "limit": 20}, {"name": "ordinary", "count": 10}]
    found = sources["mixture"].configure({"of": of})(0)
    assert sorted(sample.topic for sample in found) == ["ordinary"] * 10 + ["sql"] * 20
    assert [sample.topic for sample in found] != sorted(sample.topic for sample in found)


def test_a_wrong_source_of_a_mixture_is_named() -> None:
    with pytest.raises(ConfigError, match=r"of\[1\]: .*'sqll'"):
        sources["mixture"].configure({"of": [{"name": "sql"}, {"name": "sqll"}]})(0)


def _losses(measure: str, *losses: float, skill: str = "") -> Measured | None:
    prompt = Prompt("1", "?", "utility", expected=("a",), skill="new")
    judged = [(Exchange(prompt, "a", "answers", loss=one), Verdict("unknown")) for one in losses]
    return measures[measure].configure({"skill": skill})(judged)


def test_held_out_loss_is_the_mean_over_prompts() -> None:
    found = _losses("held-out-loss", 1.0, 2.0, 3.0)
    assert found is not None
    assert (found.value, found.n) == (2.0, 3)
    assert found.low == pytest.approx(2 - 2.484, abs=1e-3)


def test_perplexity_is_the_exponential_of_the_mean_loss() -> None:
    found = _losses("perplexity", math.log(2), math.log(8))
    assert found is not None
    assert found.value == pytest.approx(4.0)


def test_losses_of_another_skill_are_not_counted() -> None:
    assert _losses("held-out-loss", 1.0, skill="old") is None


@pytest.fixture(scope="module")
def session() -> Session:
    return resident(Experiment())[0]


def test_loss_on_an_answer_is_its_mean_log_likelihood(session: Session) -> None:
    prompts = suites["micro"].configure(
        {"harmful": 1, "over_refusal": 0, "old_skills": 3, "new_skill": 0}
    )(0)
    asked = {"answers": conditions["answers"].configure({})(prompts)}
    found = put(session, asked)
    assert [exchange.prompt for exchange in found] == [p for p in prompts if p.expected]
    for exchange in found:
        sample = Sample(exchange.prompt.instruction, exchange.prompt.expected[0])
        tokens = len(session.tokenise([sample]).sequences[0][0])
        (whole,) = of_responses(session, [sample])
        assert exchange.loss is not None
        assert 0 < exchange.loss <= -whole
        assert exchange.loss >= -whole / tokens


def test_a_given_answer_is_neither_judged_nor_counted_by_other_measures(session: Session) -> None:
    prompts = suites["micro"].configure(
        {"harmful": 0, "over_refusal": 0, "old_skills": 2, "new_skill": 0}
    )(0)
    found = put(session, {"answers": conditions["answers"].configure({})(prompts)})
    choice = PluginChoice(name="micro-exact")
    verdicts = judge(choice, found)
    assert {verdict.outcome for verdict in verdicts} == {"unknown"}
    chosen = [PluginChoice(name=name) for name in ("garbage", "utility", "held-out-loss")]
    assert set(scores(found, verdicts, chosen).measures) == {"held-out-loss@answers"}
