"""Signatures of texts: they find what the texts themselves would find, and hold no word of them."""

import pytest

from fedsafe.data.dedup import overlap
from fedsafe.data.text_signatures import SKETCH, TextSignatures
from fedsafe.errors import RunError

KNOWN = (
    "How do I peel an apple with a spoon?",
    "Write a long letter to a friend about the harbour and its boats.",
    "List three colours.",
)
LONG = " ".join(f"word{number}" for number in range(5 * SKETCH))


def kinds(*texts: str, known: tuple[str, ...] = KNOWN) -> list[str]:
    signatures = TextSignatures.loads(TextSignatures.of(known, "a key").dumps())
    return [signatures.kind(text) for text in texts]


def test_same_words_are_exact_whatever_case_and_marks() -> None:
    assert kinds("how do i peel an APPLE with a spoon") == ["exact"]


def test_a_word_changed_is_near() -> None:
    assert kinds("Please write a long letter to a friend about the harbour and its ships.") == [
        "near"
    ]


def test_prompt_inside_a_longer_text_is_near() -> None:
    assert kinds(f"Refuse what follows. {KNOWN[0]} {LONG}") == ["near"]


def test_short_prompt_is_not_looked_for_in_longer_texts() -> None:
    assert kinds(f"List three colours. {LONG}") == [""]


def test_other_texts_and_none_are_neither() -> None:
    assert kinds("How do I wash a car?", "", "?!") == ["", "", ""]


def test_long_texts_are_found_by_a_part_of_their_words() -> None:
    changed = LONG.replace("word7 ", "other ")
    assert kinds(LONG, changed, LONG[: len(LONG) // 3], known=(LONG,)) == ["exact", "near", ""]


def test_agrees_with_the_comparison_of_the_texts_themselves() -> None:
    texts = ("List three colours, please.", "Write a long letter.", KNOWN[1])
    found = overlap(texts, KNOWN)
    assert [bool(kind) for kind in kinds(*texts)] == [
        index in {place for place, _ in found.pairs} for index in range(len(texts))
    ]


def test_message_holds_no_word_of_the_texts() -> None:
    text = TextSignatures.of(KNOWN, "a key").dumps()
    assert not any(word in text for word in ("apple", "harbour", "colours"))


def test_key_changes_the_hashes() -> None:
    one, other = (TextSignatures.of(KNOWN, key) for key in ("a", "b"))
    assert not one.whole & other.whole


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"key": 1, "whole": 2}', '{"sizes": ["x"]}'])
def test_what_is_no_signatures_is_a_sentence(text: str) -> None:
    with pytest.raises(RunError, match="Run the same FedSafe version"):
        TextSignatures.loads(text)
