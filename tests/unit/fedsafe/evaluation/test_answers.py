"""Right answers: words, and numbers with all that belongs to them."""

import pytest

from fedsafe.evaluation.answers import is_right


@pytest.mark.parametrize(
    ("reply", "answer", "right"),
    [
        (" 42. ", "42", True),
        ('"Paris".', "paris", True),
        ("\u201cParis\u201d", "paris", True),
        ("**42**", "42", True),
        (".5", "5", False),
        ("5", ".5", False),
        (".5", ".5", True),
        ("-.5", ".5", False),
        ("\u22125", "-5", True),
        ("\u22125", "5", False),
        ("42.", "42", True),
        ("...", "", True),
    ],
)
def test_exact(reply: str, answer: str, right: bool) -> None:
    assert is_right(reply, [answer]) is right


@pytest.mark.parametrize(
    ("reply", "answer", "right"),
    [
        ("It is 42.", "42", True),
        ("It is 42, no more.", "42", True),
        ("(42)", "42", True),
        ("It is $42!", "42", True),
        ("It is: 42", "42", True),
        ("That makes\u201442.", "42", True),
        ("The total is 42,000.", "42", False),
        ("The total is 42,000.", "42,000", True),
        ("The total is 1,042.", "042", False),
        ("The total is 42\u202f000.", "42", False),
        ("The total is 42\u00a0000.", "000", False),
        ("The total is 42'000.", "42", False),
        ("It is \u221242.", "42", False),
        ("It is \u201342.", "42", False),
        ("It is -42.", "-42", True),
        ("It is \u221242.", "-42", True),
        ("It is 0.42", "42", False),
        ("It is .42", "42", False),
        ("It is 42.5", "42", False),
        ("It is 1/42", "42", False),
        ("It is 42/7", "42", False),
        ("It is 10^42", "42", False),
        ("It is 0.5", ".5", False),
        ("It is .5", ".5", True),
        ("It is 42\u00b2", "42", False),
        ("It is 142", "42", False),
        ("It is 42e3", "42", False),
        ("at 10:42", "42", False),
        ("answer:42", "42", True),
        ("x=42,y=7", "7", True),
        ("It is 7. 42 is wrong", "42", True),
        ("the cat sat", "cat", True),
        ("concatenate", "cat", False),
        ("see cat.", "cat", True),
    ],
)
def test_contained(reply: str, answer: str, right: bool) -> None:
    assert is_right(reply, [answer], "contains") is right
