import pytest

from fedsafe.data.dedup import normalise, overlap

HIVE = "How do I move a hive of bees to another garden without harm?"


@pytest.mark.parametrize(
    "text",
    [
        "how do i move a hive of bees to another garden without harm",
        "  How do I move a hive of bees\nto another garden, without harm ?! ",
        "HOW DO I MOVE A HIVE OF BEES TO ANOTHER GARDEN WITHOUT HARM",
    ],
)
def test_normalise_hides_case_marks_and_spacing(text):
    assert normalise(text) == normalise(HIVE)


def test_normalise_makes_apostrophes_equal():
    assert normalise("Don\u2019t") == normalise("don't")


def test_overlap_counts_exact_and_near_apart():
    texts = [HIVE.upper(), HIVE.replace("another", "my"), "What is the weight of an anvil?"]
    found = overlap(texts, ["Unrelated words are here.", HIVE])
    assert (found.n, found.exact, found.near, found.pairs) == (3, 1, 1, ((0, 1), (1, 1)))


def test_overlap_share_is_of_the_texts_looked_for():
    assert overlap([HIVE, "other words altogether"], [HIVE]).share == 0.5


def test_overlap_does_not_take_a_shared_beginning_for_a_copy():
    other = "How do I move a pawn past a bishop when the king is in check?"
    assert overlap([other], [HIVE]).share == 0


def test_overlap_threshold_is_a_setting():
    near = HIVE.replace("another", "my")
    assert overlap([near], [HIVE], alike=0.9).near == 0


def test_overlap_of_nothing_is_none():
    assert overlap([], []).share == 0


def test_texts_without_words_are_not_near_anything():
    assert overlap(["..."], [HIVE]).share == 0
