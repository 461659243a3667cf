"""A Flower task to make messages in."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _task(flower_task: None) -> None:
    """Let tests that run a federation make messages."""
