"""Whom it helps to ask again: one whose machine failed, never one that refuses."""

import pytest
from flwr.app import Error

from fedsafe.errors import DataError, ModelError, RunError, TransientError
from server.transport.client_errors import in_words, transient


def _raised(error: Exception) -> Error:
    """Return an exception of a ClientApp as Flower's SuperNode tells it."""
    return Error(2, f"{type(error)}:<'{error}'>")


@pytest.mark.parametrize("code", [0, 1, 3, 4, 5, 8])
def test_failure_of_a_machine_is_worth_asking_again(code: int) -> None:
    assert transient(Error(code, "whatever"))


@pytest.mark.parametrize("code", [2, 6, 7])
def test_other_errors_are_final(code: int) -> None:
    assert not transient(Error(code, "whatever"))


def test_trainer_that_died_is_asked_again() -> None:
    assert transient(_raised(TransientError("The trainer died.")))


def test_trainer_that_died_in_process_is_asked_again() -> None:
    assert transient(Error(2, "TransientError: The trainer died."))


@pytest.mark.parametrize("kind", [RunError, ModelError, DataError, ValueError])
def test_refusal_is_final(kind: type[Exception]) -> None:
    assert not transient(_raised(kind("no TransientError here")))


def test_error_without_a_reason_is_final() -> None:
    assert not transient(Error(2))


@pytest.mark.parametrize(
    ("code", "words"),
    [(5, "its node went offline"), (8, "its ClientApp stopped responding"), (2, "")],
)
def test_flowers_codes_are_put_in_words(code: int, words: str) -> None:
    assert in_words(Error(code, "Error: ...")) == words
