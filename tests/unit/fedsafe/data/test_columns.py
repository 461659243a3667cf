import pytest

from fedsafe.contracts import Sample
from tests.unit.fedsafe.data.files import ROW, jsonl, read, sentence
from tests.unit.fedsafe.data.styles import SHARED


@pytest.mark.parametrize(
    "row",
    [
        ROW,
        {"instruction": "Name a fruit.", "input": "", "output": "An apple."},
        {"prompt": "Name a fruit.", "completion": "An apple.", "id": 7},
        {
            "messages": [
                {"role": "user", "content": "Name a fruit."},
                {"role": "assistant", "content": "An apple."},
                {"role": "user", "content": "Another."},
            ]
        },
        {
            "conversations": [
                {"from": "human", "value": "Name a fruit."},
                {"from": "gpt", "value": "An apple."},
            ]
        },
    ],
)
def test_usual_fields_are_recognised(tmp_path, row):
    assert read("jsonl", jsonl(tmp_path, row)) == [Sample("Name a fruit.", "An apple.")]


def test_named_fields_come_before_recognised_ones(tmp_path):
    row = {"instruction": "no", "question": "Name a fruit.", "answer": "no", "reply": "An apple."}
    path = jsonl(tmp_path, row)
    found = read("jsonl", path, instruction="question", response="reply", input=None)
    assert found == [Sample("Name a fruit.", "An apple.")]


def test_input_and_topic_are_kept(tmp_path):
    row = {"instruction": "a", "context": "b", "response": "c", "category": "d"}
    assert read("jsonl", jsonl(tmp_path, row)) == [Sample("a", "c", "b", "d")]


def test_field_set_to_null_is_left_out(tmp_path):
    row = {"instruction": "a", "context": "b", "response": "c"}
    assert read("jsonl", jsonl(tmp_path, row), input=None) == [Sample("a", "c")]


def test_wrong_field_names_those_there_are_and_the_nearest(tmp_path):
    message = sentence("jsonl", jsonl(tmp_path, ROW), response="respons")
    assert message == (
        ", line 1: expected a field 'respons', got the fields instruction, response. "
        "Did you mean 'response'?"
    )


def test_unrecognised_fields_ask_for_the_setting(tmp_path):
    message = sentence("jsonl", jsonl(tmp_path, {"instruction": "a", "sql": "b"}))
    assert message == (
        ", line 1: expected a field for the response (response, output, completion, answer), got "
        "the fields instruction, sql. Name the field in the setting 'response'."
    )


def test_field_missing_in_a_later_row_is_named(tmp_path):
    message = sentence("jsonl", jsonl(tmp_path, ROW, {"instruction": "a"}))
    assert message.startswith(", line 2: expected a field 'response', got the fields instruction.")


def test_value_that_is_no_text_is_named(tmp_path):
    message = sentence("jsonl", jsonl(tmp_path, ROW, {"instruction": "a", "response": 3}))
    assert message == (
        ", line 2: expected text in field 'response', got int '3'. "
        "Put it in quotes, or name another field."
    )


def test_empty_response_is_named(tmp_path):
    message = sentence("jsonl", jsonl(tmp_path, ROW, {**ROW, "response": " "}))
    assert message.startswith(", line 2: the response is empty.")


def test_empty_rows_can_be_left_out(tmp_path):
    path = jsonl(tmp_path, {**ROW, "response": None}, ROW)
    assert read("jsonl", path, skip_empty=True) == [Sample("Name a fruit.", "An apple.")]


def test_conversation_without_a_reply_is_named(tmp_path):
    path = jsonl(tmp_path, {"messages": [{"role": "user", "content": "a"}]})
    message = sentence("jsonl", path)
    assert "expected a user's turn followed by an assistant's, got user." in message


def test_conversation_with_a_broken_turn_is_named(tmp_path):
    path = jsonl(tmp_path, {"messages": [{"role": "user", "content": 3}]})
    assert "field 'messages', turn 1: expected text in field 'content'" in sentence("jsonl", path)


def test_single_text_field_is_rejected_with_the_remedy():
    path = SHARED / "wikisql" / "train.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    assert "does not say where the response begins" in sentence("jsonl", path)


def test_conversation_turn_that_is_no_object_is_named(tmp_path):
    message = sentence("jsonl", jsonl(tmp_path, {"messages": ["hello"]}))
    assert "turn 1: expected an object with role and content, got 'hello'" in message
