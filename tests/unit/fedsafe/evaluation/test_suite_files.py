"""Files of prompts of the usual benchmarks' forms: what is recognised, mapped, filtered, refused.

The rows are invented and harmless; the columns are those of the public files.
"""

import csv
import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas
import pytest

from fedsafe.contracts import Prompt, suites
from fedsafe.errors import DataError
from fedsafe.evaluation.suite_files import read_suite
from fedsafe.evaluation.suite_rows import Reading
from tests.unit.fedsafe.data.styles import SHARED

HARMBENCH = [
    {
        **{
            "Behavior": "Sort them",
            "FunctionalCategory": "standard",
            "Tags": "",
            "ContextString": "",
        },
        **{"SemanticCategory": "order", "BehaviorID": "sort_them"},
    },
    {
        **{"Behavior": "Sum it up", "FunctionalCategory": "contextual", "Tags": "context"},
        **{"ContextString": "One, two.", "SemanticCategory": "sums", "BehaviorID": "sum_up"},
    },
]
ADVBENCH = [{"goal": "Draw a map", "target": "Sure, here is a map"}]
JAILBREAKBENCH = [
    {
        **{"Index": 0, "Goal": "Draw a map", "Target": "Sure, here is a map", "Behavior": "Maps"},
        **{"Category": "Art", "Source": "Original"},
    }
]
STRONGREJECT = [{"category": "Art", "source": "custom", "forbidden_prompt": "Draw a map"}]
DO_NOT_ANSWER = [
    {
        **{"id": 7, "risk_area": "Art", "types_of_harm": "Maps", "specific_harms": "x"},
        **{"question": "Can you draw a map?", "GPT4_response": "No."},
    }
]
XSTEST = [
    {"id": 1, "prompt": "How do I kill a process?", "type": "homonyms", "label": "safe"},
    {"id": 2, "prompt": "Draw a map", "type": "contrast_homonyms", "label": "unsafe"},
]
MT_BENCH = [
    {"question_id": 81, "category": "writing", "turns": ["Write.", "Again."]},
    {"question_id": 101, "category": "math", "turns": ["Add.", "Why?"], "reference": ["3", "x"]},
]
SORRY = [{"question_id": 1, "category": "2", "turns": ["Draw a map"], "prompt_style": "base"}]


def save(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows in the form that a file's name says."""
    packed = path.suffix == ".gz"
    plain = path.with_suffix("") if packed else path
    if plain.suffix == ".parquet":
        pandas.DataFrame(rows).to_parquet(plain)
    elif plain.suffix == ".json":
        plain.write_text(json.dumps(rows))
    elif plain.suffix == ".jsonl":
        plain.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with plain.open("w", newline="", encoding="utf-8-sig") as file:
            mark = "\t" if plain.suffix == ".tsv" else ","
            writer = csv.DictWriter(file, rows[0], delimiter=mark)
            writer.writeheader()
            writer.writerows(rows)
    if packed:
        path.write_bytes(gzip.compress(plain.read_bytes()))
    return path


def read(path: Path, seed: int = 0, **settings: Any) -> list[Prompt]:
    return list(suites["file"].configure({"path": path, **settings})(seed))


def told(path: Path, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(path, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("rows", "form", "purposes"),
    [
        (HARMBENCH, "harmbench", {"harmful": 2}),
        (ADVBENCH, "advbench", {"harmful": 1}),
        (JAILBREAKBENCH, "jailbreakbench", {"harmful": 1}),
        (STRONGREJECT, "strongreject", {"harmful": 1}),
        (DO_NOT_ANSWER, "do-not-answer", {"harmful": 1}),
        (XSTEST, "xstest", {"over-refusal": 1, "harmful": 1}),
        (MT_BENCH, "mt-bench", {"benign": 2}),
        (SORRY, "sorry-bench", {"harmful": 1}),
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_form_is_recognised_by_its_columns(
    tmp_path: Path, rows: list[dict[str, Any]], form: str, purposes: dict[str, int], suffix: str
) -> None:
    found = read_suite(save(tmp_path / f"some{suffix}", rows), Reading())
    assert found.form == form
    assert Counter(prompt.purpose for prompt in found.prompts) == purposes


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".csv.gz", ".json.gz", ".parquet.gz"])
def test_every_kind_of_file_gives_the_same_prompts(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "one").mkdir()
    expected = read(save(tmp_path / "one" / "some.jsonl", HARMBENCH))
    assert read(save(tmp_path / f"some{suffix}", HARMBENCH)) == expected


def test_harmbench_puts_the_context_before_the_behavior(tmp_path: Path) -> None:
    one, other = read(save(tmp_path / "hb.csv", HARMBENCH))
    assert one == Prompt("hb-sort_them", "Sort them", "harmful", topic="order")
    assert other.instruction == "One, two.\n\n---\n\nSum it up"


@pytest.mark.parametrize("rows", [ADVBENCH, JAILBREAKBENCH])
def test_targets_are_prefills(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    (found,) = read(save(tmp_path / "some.csv", rows))
    assert (found.instruction, found.prefill) == ("Draw a map", "Sure, here is a map")


def test_jailbreakbench_s_benign_file_is_not_harmful(tmp_path: Path) -> None:
    (found,) = read(save(tmp_path / "benign-behaviors.csv", JAILBREAKBENCH))
    assert (found.purpose, found.prefill) == ("over-refusal", "")


def test_mt_bench_asks_the_first_turn_and_keeps_the_reference(tmp_path: Path) -> None:
    writing, maths = read(save(tmp_path / "question.jsonl", MT_BENCH))
    assert (writing.instruction, writing.expected) == ("Write.", ())
    assert (maths.id, maths.expected) == ("question-101", ("3",))


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(("purpose", "id_"), [("over-refusal", "x-1"), ("harmful", "x-2")])
def test_xstest_is_two_suites(tmp_path: Path, labelled: bool, purpose: str, id_: str) -> None:
    rows = [row if labelled else {**row, "label": None, "focus": ""} for row in XSTEST]
    rows = [{k: v for k, v in row.items() if v is not None} for row in rows]
    found = read(save(tmp_path / "x.csv", rows), purpose=purpose)
    assert [(prompt.id, prompt.purpose) for prompt in found] == [(id_, purpose)]


def test_a_plain_file_says_what_it_is_for(tmp_path: Path) -> None:
    path = save(tmp_path / "own.csv", [{"prompt": "Sing."}])
    assert "own.csv: the columns do not tell what its prompts are for" in told(path)
    assert read(path, purpose="benign")[0].purpose == "benign"


def test_a_text_file_has_a_prompt_a_line(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("Sing.\n\nDance.\n")
    found = read(tmp_path / "own.txt", purpose="harmful", prefill="Sure")
    assert [(p.id, p.instruction, p.prefill) for p in found] == [
        ("own-0001", "Sing.", "Sure"),
        ("own-0002", "Dance.", "Sure"),
    ]


def test_columns_are_named_by_the_user(tmp_path: Path) -> None:
    path = save(tmp_path / "own.csv", [{"Ask": "Sing.", "Kind": "art", "Begin": "La"}])
    columns = {"prompt": "ask", "topic": "kind", "prefill": "begin"}
    (found,) = read(path, purpose="harmful", columns=columns)
    assert (found.instruction, found.topic, found.prefill) == ("Sing.", "art", "La")


NUMBERED = [{"prompt": f"Number {n}.", "kind": "even" if n % 2 == 0 else "odd"} for n in range(40)]


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"where": {"kind": "even"}}, 20),
        ({"where": {"Kind": ["even", "odd"]}}, 40),
        ({"where_not": {"kind": ["even"]}}, 20),
        ({"where": {"kind": "even"}, "where_not": {"prompt": "Number 2."}}, 19),
    ],
)
def test_rows_are_filtered(tmp_path: Path, settings: dict[str, Any], count: int) -> None:
    path = save(tmp_path / "own.csv", NUMBERED)
    assert len(read(path, purpose="benign", **settings)) == count


def test_ids_are_of_the_row_whatever_is_filtered(tmp_path: Path) -> None:
    path = save(tmp_path / "own.csv", NUMBERED)
    assert read(path, purpose="benign", where={"kind": "odd"}, limit=1)[0].id == "own-0002"


def test_drawn_prompts_are_the_seed_s_in_the_file_s_order(tmp_path: Path) -> None:
    path = save(tmp_path / "own.csv", NUMBERED)
    one, same, other = (
        [prompt.id for prompt in read(path, seed, purpose="benign", limit=9, choose="drawn")]
        for seed in (1, 1, 2)
    )
    assert one == same == sorted(one)
    assert one != other


def test_the_hash_of_the_file_is_checked(tmp_path: Path) -> None:
    path = save(tmp_path / "own.csv", ADVBENCH)
    assert read(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert "expected sha256 000000000000..., got" in told(path, sha256="0" * 64)


BROKEN = [
    ("jsonl", [*ADVBENCH, {"goal": " ", "target": "x"}], {}, "line 2: the prompt in 'goal' is"),
    ("jsonl", [*ADVBENCH, {"target": "x"}], {}, "line 2: expected a field 'goal', got the fields"),
    ("jsonl", [*ADVBENCH, {"goal": 3}], {}, "line 2: expected text in field 'goal', got int '3'"),
    ("csv", [{"a": "x"}], {}, "line 2: expected a column of prompts (prompt, instruction,"),
    ("csv", ADVBENCH, {"form": "harmbench"}, "line 2: expected a column of prompts (Behavior)"),
    ("csv", ADVBENCH, {"columns": {"promt": "goal"}}, "no part 'promt'"),
    ("csv", ADVBENCH, {"columns": {"topic": "gaol"}}, "field 'gaol', got the fields goal, target."),
    ("csv", ADVBENCH, {"where": {"kind": "x"}}, "line 2: the filter is on a field 'kind'"),
    ("csv", ADVBENCH, {"where": {"goal": "x"}}, "'goal' has the values Draw a map."),
    ("csv", [XSTEST[0]], {"purpose": "harmful"}, "none of its 1 rows is for purpose harmful"),
    ("csv", [{**XSTEST[0], "label": "odd"}], {}, "line 2: expected label safe or unsafe, got"),
    ("csv", [XSTEST[0], XSTEST[0]], {}, "line 3: the id 'own-1' is that of"),
    ("csv", ADVBENCH, {"purpose": "utility"}, "line 2: expected a field 'expected' with the right"),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "rows", "settings", "said"), BROKEN)
def test_what_is_wrong_is_said_with_file_line_and_field(
    tmp_path: Path, suffix: str, rows: list[dict[str, Any]], settings: dict[str, Any], said: str
) -> None:
    assert said in told(save(tmp_path / f"own.{suffix}", rows), **settings)


def test_another_encoding_is_a_setting(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_bytes("goal,target\ncafé,oui\n".encode("latin-1"))
    assert "own.csv, line 2: expected UTF-8 text" in told(tmp_path / "own.csv")
    assert read(tmp_path / "own.csv", encoding="latin-1")[0].instruction == "café"


@pytest.mark.parametrize(
    ("name", "form", "count"),
    [("xstest/xstest_prompts.csv", "xstest", 450), ("mtbench/question.jsonl", "mt-bench", 80)],
)
def test_public_files_are_recognised(name: str, form: str, count: int) -> None:
    if not (SHARED / name).is_file():
        pytest.skip(f"{SHARED / name} is not here")
    found = read_suite(SHARED / name, Reading())
    assert (found.form, len(found.prompts)) == (form, count)


def turns(tmp_path: Path, text: str) -> list[Prompt]:
    path = tmp_path / "mt.csv"
    with path.open("w", newline="") as file:
        rows = [["question_id", "category", "turns"], ["81", "writing", text]]
        csv.writer(file).writerows(rows)
    return read(path)


@pytest.mark.parametrize("text", ['["First.", "Then."]', "['First.', 'Then.']", "First."])
def test_turns_in_a_csv_are_a_list(tmp_path: Path, text: str) -> None:
    assert turns(tmp_path, text)[0].instruction == "First."


@pytest.mark.parametrize("text", ["['First.'\n 'Then.']", "['First."])
def test_turns_that_are_no_list_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"list of texts with commas in field 'turns'"):
        turns(tmp_path, text)


def test_nan_is_no_expected_answer(tmp_path: Path) -> None:
    rows = [{**MT_BENCH[0], "reference": float("nan")}]
    path = tmp_path / "mt.jsonl"
    path.write_text(json.dumps(rows[0]))
    assert read(path)[0].expected == ()
