"""The quotas: who was asked may answer once, in bounds; nothing is kept for ever."""

import pytest

from fedsafe.deployment.server.pending import OFFERS, SLACK_OBJECTS, PendingMessage, QuotaExceeded
from fedsafe.deployment.server.quota import (
    IDLE,
    LINGER,
    SLACK_BYTES,
    Quotas,
)

NODE, OTHER = 7, 8
MIB = 1024**2


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Books:
    """A quotas with what it freed."""

    def __init__(self) -> None:
        self.freed: list[str] = []
        self.clock = Clock()
        self.quotas = Quotas(self.freed.append, self.clock)

    def ask(self, name: str = "q", node: int = NODE, kind: str = "train", size: int = MIB) -> None:
        """Have the server ask with an adapter of one object."""
        self.quotas.asked(
            name, PendingMessage(node, kind, self.clock.now + 100, [f"{name}-root", f"{name}-data"])
        )
        self.quotas.sized(f"{name}-data", size)

    def answer(self, name: str = "q", ids: tuple[str, ...] = ("r", "a", "b")) -> None:
        """Have the client announce a reply."""
        self.quotas.offer(NODE, name, ids[0], ids)
        self.quotas.accepted(name, ids)


@pytest.fixture
def books() -> Books:
    return Books()


def refused(call: object, *given: object) -> int:
    assert callable(call)
    with pytest.raises(QuotaExceeded) as caught:
        call(*given)
    return caught.value.status


def test_a_reply_that_was_asked_for_is_taken(books: Books) -> None:
    books.ask()
    books.answer()
    books.quotas.piece(NODE, "a", MIB)


def test_one_who_was_not_asked_is_refused(books: Books) -> None:
    assert refused(books.quotas.offer, NODE, "q", "r", ["r"]) == 409


def test_one_who_answers_for_another_is_refused(books: Books) -> None:
    books.ask(node=OTHER)
    assert refused(books.quotas.offer, NODE, "q", "r", ["r"]) == 409


def test_a_reply_may_have_twice_the_objects_and_some(books: Books) -> None:
    books.ask()
    most = 2 * 2 + SLACK_OBJECTS
    books.quotas.offer(NODE, "q", "r", [str(n) for n in range(most)])
    books.ask("p", kind="query")
    assert refused(books.quotas.offer, NODE, "p", "r", [str(n) for n in range(most + 1)]) == 413


def test_a_reply_may_have_twice_the_bytes_and_some(books: Books) -> None:
    books.ask(size=MIB)
    books.answer()
    books.quotas.piece(NODE, "a", 2 * MIB + SLACK_BYTES)
    assert refused(books.quotas.piece, NODE, "a", 2 * MIB + SLACK_BYTES + 1) == 413


def test_bytes_count_over_all_pieces(books: Books) -> None:
    books.ask(size=MIB)
    books.answer()
    books.quotas.stored(NODE, "a", 2 * MIB + SLACK_BYTES)
    assert refused(books.quotas.piece, NODE, "b", 1) == 413


def test_a_piece_sent_twice_counts_once(books: Books) -> None:
    books.ask(size=MIB)
    books.answer()
    books.quotas.stored(NODE, "a", 2 * MIB + SLACK_BYTES)
    books.quotas.piece(NODE, "a", 2 * MIB + SLACK_BYTES)


def test_equal_objects_count_as_often_as_they_occur(books: Books) -> None:
    """An adapter's fresh halves are zeros, one object for many; trained they are not."""
    until = books.clock.now + 100
    books.quotas.asked("q", PendingMessage(NODE, "train", until, ["root", "zero", "zero"]))
    books.quotas.sized("zero", MIB)
    assert books.quotas.most_bytes("q") == 2 * 2 * MIB + SLACK_BYTES


def test_a_piece_of_nothing_is_refused(books: Books) -> None:
    books.ask()
    books.answer()
    assert refused(books.quotas.piece, NODE, "stray", 1) == 409


def test_a_piece_of_anothers_reply_is_refused(books: Books) -> None:
    books.ask()
    books.answer()
    assert refused(books.quotas.piece, OTHER, "a", 1) == 409


def test_the_same_reply_may_be_announced_again_but_not_for_ever(books: Books) -> None:
    books.ask()
    for _ in range(OFFERS):
        books.answer()
    assert refused(books.quotas.offer, NODE, "q", "r", ["r", "a", "b"]) == 429


@pytest.mark.parametrize(("name", "ids"), [("s", ["r", "a", "b"]), ("r", ["r", "a", "c"])])
def test_another_reply_is_refused(books: Books, name: str, ids: list[str]) -> None:
    books.ask()
    books.answer()
    assert refused(books.quotas.offer, NODE, "q", name, ids) == 409


def test_the_server_sees_a_reply_when_it_is_whole(books: Books) -> None:
    books.ask()
    books.answer()
    for piece in ("r", "a", "b"):
        assert books.quotas.hidden(["q", "unknown"]) == {"q"}
        books.quotas.stored(NODE, piece, 1)
    assert books.quotas.hidden(["q"]) == set()


def test_pieces_may_come_before_the_list_of_what_is_wanted(books: Books) -> None:
    books.ask()
    books.quotas.offer(NODE, "q", "r", ["r", "a"])
    books.quotas.stored(NODE, "r", 1)
    books.quotas.stored(NODE, "a", 1)
    books.quotas.accepted("q", ["r", "a"])
    assert books.quotas.hidden(["q"]) == set()


def test_objects_that_the_superlink_has_need_not_come(books: Books) -> None:
    books.ask()
    books.quotas.offer(NODE, "q", "r", ["r", "shared"])
    books.quotas.accepted("q", ["r"])
    books.quotas.stored(NODE, "r", 1)
    assert books.quotas.hidden(["q"]) == set()


def test_a_reply_that_broke_off_is_left_to_flower(books: Books) -> None:
    books.ask()
    books.answer()
    books.clock.now += IDLE + 1
    assert books.quotas.hidden(["q"]) == set()


def test_a_reply_that_was_collected_is_forgotten_and_not_freed_twice(books: Books) -> None:
    books.ask()
    books.answer()
    books.quotas.collected("r")
    assert (len(books.quotas), books.freed) == (0, [])


def test_a_newer_question_frees_the_older_one_and_its_reply(books: Books) -> None:
    books.ask("q1")
    books.answer("q1")
    books.ask("q2")
    assert books.freed == ["q1", "r"]
    assert refused(books.quotas.piece, NODE, "a", 1) == 409


@pytest.mark.parametrize("other", [{"node": OTHER}, {"kind": "query.hello"}])
def test_a_question_of_another_node_or_kind_stays(books: Books, other: dict[str, object]) -> None:
    books.ask("q1")
    books.ask("q2", **other)  # type: ignore[arg-type]
    assert (len(books.quotas), books.freed) == (2, [])


def test_a_question_that_has_expired_is_freed(books: Books) -> None:
    books.ask("q1")
    books.answer("q1")
    books.clock.now += 100 + LINGER + 1
    assert refused(books.quotas.offer, NODE, "q1", "r", ["r"]) == 409
    assert books.freed == ["q1", "r"]


def test_nothing_is_kept_over_many_rounds(books: Books) -> None:
    for number in range(1000):
        books.ask(f"q{number}")
        books.answer(f"q{number}")
        books.quotas.collected("r")
    assert (len(books.quotas), books.quotas._objects) == (0, {})


def test_a_client_may_confirm_its_question_alone(books: Books) -> None:
    books.ask("mine")
    books.ask("others", node=OTHER)
    books.answer("mine")
    books.quotas.own(NODE, "mine")
    assert refused(books.quotas.own, NODE, "others") == 409
    assert refused(books.quotas.own, NODE, "r") == 409


def test_a_reply_that_is_too_large_is_over(books: Books) -> None:
    books.ask()
    books.answer()
    books.quotas.stored(NODE, "a", MIB)
    assert refused(books.quotas.piece, NODE, "b", 20 * MIB) == 413
    assert books.freed == ["r"]
    assert refused(books.quotas.piece, NODE, "a", 1) == 413
    assert refused(books.quotas.offer, NODE, "q", "r", ["r", "a", "b"]) == 413


def test_the_server_is_told_once_why_there_is_no_reply(books: Books) -> None:
    books.ask()
    books.answer()
    assert books.quotas.over(["q"]) == {}
    refused(books.quotas.piece, NODE, "b", 20 * MIB)
    why = books.quotas.over(["q", "other"])["q"]
    assert (why.lost, "bytes that are taken" in why.reason) == (False, True)
    books.quotas.close(["q"])
    assert books.quotas.over(["q"]) == {}
    assert len(books.quotas) == 0


def test_a_reply_that_was_refused_is_not_waited_for(books: Books) -> None:
    books.ask()
    books.answer()
    books.quotas.stored(NODE, "a", MIB)
    assert books.quotas.hidden(["q"]) == {"q"}
    refused(books.quotas.piece, NODE, "b", 20 * MIB)
    assert books.quotas.hidden(["q"]) == set()


def test_a_question_waits_for_its_node_once_it_is_whole(books: Books) -> None:
    ids, until = ["q", "a", "b"], books.clock.now + 100
    books.quotas.asked("q", PendingMessage(NODE, "train", until, ids, {"a", "b"}))
    assert not books.quotas.has_work(NODE)
    assert books.quotas.sized("a", MIB) == set()
    assert books.quotas.sized("b", MIB) == {NODE}
    assert (books.quotas.has_work(NODE), books.quotas.has_work(OTHER)) == (True, False)


def test_one_object_makes_the_questions_of_several_whole(books: Books) -> None:
    for name, node in (("q", NODE), ("p", OTHER)):
        until = books.clock.now + 100
        books.quotas.asked(name, PendingMessage(node, "train", until, [name, "a"], {"a"}))
    assert books.quotas.sized("a", MIB) == {NODE, OTHER}


def test_a_question_whose_objects_are_there_waits_at_once(books: Books) -> None:
    books.quotas.asked("q", PendingMessage(NODE, "train", books.clock.now + 100, ["q", "a"]))
    assert books.quotas.has_work(NODE)


def test_a_question_is_handed_out_once(books: Books) -> None:
    books.ask()
    books.quotas.handed(NODE, ["q"])
    assert not books.quotas.has_work(NODE)
    books.ask("p", kind="query")
    assert books.quotas.has_work(NODE)


def test_a_question_that_never_arrived_is_given_again(books: Books) -> None:
    books.ask()
    assert books.quotas.asks(NODE) == []
    books.quotas.handed(NODE, ["q"])
    assert books.quotas.asks(OTHER) == []
    assert books.quotas.asks(NODE) == ["q"]
    assert books.quotas.has_work(NODE)


def test_a_question_that_was_answered_is_not_given_again(books: Books) -> None:
    books.ask()
    books.quotas.handed(NODE, ["q"])
    books.answer(ids=("r",))
    books.quotas.stored(NODE, "r", 10)
    assert books.quotas.asks(NODE) == []
    assert books.quotas.over(["q"]) == {}


@pytest.mark.parametrize("begun", [False, True])
def test_a_reply_that_was_given_up_is_lost_and_the_server_told(books: Books, begun: bool) -> None:
    books.ask()
    books.quotas.handed(NODE, ["q"])
    books.quotas.confirmed("q")
    if begun:
        books.answer()
        books.quotas.stored(NODE, "a", MIB)
    assert books.quotas.asks(NODE) == []
    assert books.quotas.over(["q"])["q"].lost
    assert ("r" in books.freed) is begun


def test_only_what_went_out_is_handed(books: Books) -> None:
    books.ask("q", kind="train")
    books.ask("p", kind="query")
    books.quotas.handed(NODE, ["q"])
    assert books.quotas.has_work(NODE)


def test_what_is_over_or_answered_waits_for_nobody(books: Books) -> None:
    books.ask("q", kind="train")
    books.answer("q")
    assert not books.quotas.has_work(NODE)
    books.ask("p", kind="query")
    books.clock.now += 101
    assert not books.quotas.has_work(NODE)


def test_what_flower_does_not_hand_out_is_waited_for_no_longer(books: Books) -> None:
    books.ask()
    books.quotas.handed(NODE, [])
    assert not books.quotas.has_work(NODE)
    assert books.quotas.asks(NODE) == ["q"]


def test_work_that_went_out_before_it_was_known_can_be_lost_too(books: Books) -> None:
    books.quotas.handed(NODE, ["q"])
    books.ask()
    books.quotas.confirmed("q")
    books.quotas.asks(NODE)
    assert books.quotas.over(["q"])["q"].lost


def test_a_reply_that_was_not_taken_is_no_reply(books: Books) -> None:
    books.ask()
    books.quotas.handed(NODE, ["q"])
    books.quotas.confirmed("q")
    books.quotas.offer(NODE, "q", "r", ["r", "a"])
    books.quotas.accepted("q", [])
    books.quotas.asks(NODE)
    assert books.quotas.over(["q"])["q"].lost


def test_an_object_that_has_come_is_known(books: Books) -> None:
    books.ask()
    books.answer()
    assert not books.quotas.has(NODE, "a")
    books.quotas.stored(NODE, "a", MIB)
    assert (books.quotas.has(NODE, "a"), books.quotas.has(OTHER, "a")) == (True, False)
