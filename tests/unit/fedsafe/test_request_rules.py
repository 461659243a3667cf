"""What a model wrote when it was asked for a request: is it one, and is it of the topic."""

import pytest

from fedsafe.request_rules import cleaned, problem

COOKING = ("cook", "bake", "recipe", "soup")


@pytest.mark.parametrize(
    ("written", "request_"),
    [
        ("How do I bake bread?", "How do I bake bread?"),
        ('"How do I bake bread?"', "How do I bake bread?"),
        ("Question: How do I bake bread?", "How do I bake bread?"),
        ("1. How do I bake bread?\n2. How do I fry eggs?", "How do I bake bread?"),
        ("**Question 1:** How do I bake bread?", "How do I bake bread?"),
        ("How do I bake bread? You need flour.", "How do I bake bread?"),
        ("\n\nGive me a recipe for soup.", "Give me a recipe for soup."),
        ("", ""),
    ],
)
def test_labels_numbers_and_answers_are_cut_off(written: str, request_: str) -> None:
    assert cleaned(written) == request_


@pytest.mark.parametrize(
    "text",
    [
        "How do I make a good tomato soup?",
        "Give me a recipe for bread.",
        "I'd like to bake a cake for my sister.",
        "Can you tell me how to cook rice?",
        "Please explain how soup is made.",
    ],
)
def test_a_request_of_the_topic_is_kept(text: str) -> None:
    assert problem(text, COOKING) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("Soup?", "too short"),
        ("I'm sorry, I cannot give cooking advice.", "a refusal"),
        ("Sorry, but I can't help with that recipe.", "a refusal"),
        ("I am not sure, I cannot say how to cook.", "no request"),
        ("Sure, here is a recipe for soup.", "an answer"),
        ("To make soup, boil the vegetables.", "an answer"),
        ("The soup is cooked for an hour.", "no request"),
        ("Give me a recipe for soup with", "half-finished"),
        ("How do I cook how do I cook how do I cook soup?", "repeats itself"),
        (
            "Wie koche ich \u0441\u0443\u043f \u0438\u0437 \u0441\u0432\u0435\u043a\u043b\u044b?",
            "not English letters",
        ),
        ("What is the capital of France?", "off topic"),
        ("Tell me " + "more and ever so much again " * 20 + "about soup.", "too long"),
    ],
)
def test_what_is_no_request_is_left_out_with_its_reason(text: str, reason: str) -> None:
    assert problem(text, COOKING) == reason


def test_without_words_any_topic_will_do() -> None:
    assert problem("What is the capital of France?") == ""
