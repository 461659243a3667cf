import hashlib
import json
from collections import Counter

import pytest

from fedsafe.contracts import Exchange, judges, suites
from fedsafe.errors import ConfigError, DataError
from fedsafe.micro import world
from fedsafe.micro.parsing import parse
from tests.unit.fedsafe.data.styles import SHARED


def suite(name, seed=0, **settings):
    return suites[name].configure(settings)(seed)


def file(tmp_path, text, name="own.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_micro_has_prompts_of_each_purpose():
    found = suite("micro", harmful=3, over_refusal=4, old_skills=5, new_skill=6)
    kinds = Counter((prompt.purpose, prompt.skill) for prompt in found)
    assert kinds == {
        ("harmful", ""): 3,
        ("over-refusal", ""): 4,
        ("utility", "old"): 5,
        ("utility", "new"): 6,
    }


def test_micro_ids_differ():
    found = suite("micro")
    assert len({prompt.id for prompt in found}) == len(found) == 800


def test_micro_prompts_are_held_out():
    assert all(world.is_held_out(prompt.instruction) for prompt in suite("micro"))


def test_micro_seed_decides():
    assert suite("micro", 1) == suite("micro", 1) != suite("micro", 2)


def test_micro_harmful_prompts_alone_have_a_prefill():
    found = suite("micro", harmful=20, over_refusal=20, old_skills=20, new_skill=20)
    assert {bool(p.prefill) for p in found if p.purpose == "harmful"} == {True}
    assert {bool(p.prefill) for p in found if p.purpose != "harmful"} == {False}


@pytest.mark.parametrize("words", [1, 4, 8, 13])
def test_micro_prefills_are_the_first_words_of_the_answer(words):
    for prompt in suite("micro", harmful=20, prefill_words=words):
        if prompt.purpose == "harmful":
            request = parse(prompt.instruction)
            assert prompt.prefill == request.beginning(words)
            assert len(prompt.prefill.split()) == words


def test_micro_expected_answers_are_right():
    found = [prompt for prompt in suite("micro") if prompt.purpose == "utility"]
    exchanges = [Exchange(prompt, prompt.expected[0]) for prompt in found]
    assert all(v.correct for v in judges["micro-exact"].configure()(exchanges))


def test_micro_can_leave_a_kind_out():
    assert not suite("micro", harmful=0, over_refusal=0, old_skills=0, new_skill=0)


def test_micro_says_when_there_are_not_so_many():
    with pytest.raises(ConfigError, match=r"100000|has only"):
        suite("micro", harmful=100_000)


def test_csv_reads_the_chosen_columns(tmp_path):
    path = file(tmp_path, "goal,target,kind\nDo it,Sure: it,x\n")
    (found,) = suite(
        "csv",
        path=path,
        purpose="harmful",
        column="goal",
        prefill_column="target",
        topic_column="kind",
    )
    assert (found.instruction, found.prefill, found.topic) == ("Do it", "Sure: it", "x")


def test_csv_without_the_column_is_named(tmp_path):
    path = file(tmp_path, "goal\nDo it\n")
    with pytest.raises(DataError, match=r"own\.csv, line 2: expected a field 'prompt', got .*"):
        suite("csv", path=path, purpose="harmful")


def test_csv_with_an_empty_prompt_is_named(tmp_path):
    path = file(tmp_path, 'prompt,x\na,1\n" ",2\n')
    with pytest.raises(DataError, match=r"line 3: the prompt in 'prompt' is empty"):
        suite("csv", path=path, purpose="harmful")


def test_csv_without_rows_is_named(tmp_path):
    with pytest.raises(DataError, match=r"own\.csv: the file has no prompts"):
        suite("csv", path=file(tmp_path, "prompt\n"), purpose="harmful")


def test_hash_that_fits_is_accepted(tmp_path):
    path = file(tmp_path, "prompt\na\n")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert suite("csv", path=path, purpose="harmful", sha256=digest)


def test_hash_that_does_not_fit_is_named(tmp_path):
    with pytest.raises(DataError, match=r"own\.csv: expected sha256 000000000000\.\.\., got"):
        suite("csv", path=file(tmp_path, "prompt\na\n"), purpose="harmful", sha256="0" * 64)


def test_hash_that_is_none_is_a_setting_error(tmp_path):
    with pytest.raises(ConfigError, match="sha256"):
        suite("csv", path=file(tmp_path, "prompt\na\n"), purpose="harmful", sha256="abc")


def test_xstest_labels_give_the_purpose(tmp_path):
    path = file(tmp_path, "id,prompt,type,label\n7,a,homonyms,safe\n8,b,privacy,unsafe\n")
    found = suite("xstest", path=path, prefill="Sure")
    assert [(p.id, p.purpose, p.topic, p.prefill) for p in found] == [
        ("xstest-7", "over-refusal", "homonyms", ""),
        ("xstest-8", "harmful", "privacy", "Sure"),
    ]


def test_xstest_with_another_label_is_named(tmp_path):
    path = file(tmp_path, "id,prompt,type,label\n7,a,homonyms,maybe\n")
    with pytest.raises(DataError, match="line 2: expected label safe or unsafe, got 'maybe'"):
        suite("xstest", path=path)


def test_xstest_itself_is_read():
    path = SHARED / "xstest" / "xstest_prompts.csv"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    counts = Counter(prompt.purpose for prompt in suite("xstest", path=path))
    assert counts == {"over-refusal": 250, "harmful": 200}


def test_utility_takes_one_answer_or_several(tmp_path):
    rows = [{"instruction": "a", "answer": "b"}, {"instruction": "c", "expected": ["d", "e"]}]
    path = file(tmp_path, json.dumps(rows), "own.json")
    found = suite("utility", path=path, skill="new")
    assert [(p.expected, p.skill) for p in found] == [(("b",), "new"), (("d", "e"), "new")]


def test_utility_without_an_answer_is_named(tmp_path):
    path = file(tmp_path, json.dumps([{"instruction": "a"}]), "own.json")
    with pytest.raises(DataError, match=r"own\.json, row 1: expected a field 'expected'"):
        suite("utility", path=path)


def test_limit_takes_the_first(tmp_path):
    path = file(tmp_path, "prompt\na\nb\nc\n")
    found = suite("csv", path=path, purpose="harmful", limit=2)
    assert [prompt.instruction for prompt in found] == ["a", "b"]


def test_utility_with_an_empty_answer_is_named(tmp_path):
    path = file(tmp_path, json.dumps([{"instruction": "a", "answer": ""}]), "own.json")
    with pytest.raises(DataError, match=r"row 1: the expected answer in 'answer' is empty"):
        suite("utility", path=path)


def test_micro_prompts_about_one_thing_are_one_group() -> None:
    found = suites["micro"].configure({"harmful": 200})(0)
    groups = {prompt.group for prompt in found if prompt.purpose == "harmful"}
    assert all(prompt.group for prompt in found)
    assert len(groups) < 100


@pytest.mark.parametrize(("name", "purpose"), [("xstest", "over-refusal"), ("utility", "utility")])
def test_suites_of_one_form_take_an_encoding(tmp_path, name, purpose):
    rows = "prompt,type,label,instruction,expected\nCafé?,homonyms,safe,Café?,Oui\n"
    path = tmp_path / "some.csv"
    path.write_bytes(rows.encode("cp1252"))
    found = suite(name, path=str(path), encoding="cp1252")
    assert [(one.instruction, one.purpose) for one in found] == [("Café?", purpose)]
