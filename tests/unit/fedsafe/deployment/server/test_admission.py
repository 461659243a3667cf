"""Which keys the SuperLink lets in, as the allow list changes."""

import asyncio
from base64 import b64encode

import pytest

from fedsafe.deployment.server.admission import Admission, KeyStatus, decode

A, B = b64encode(b"key a"), b64encode(b"key b")


class World:
    """An allow list, a SuperLink's register, and whose sessions were ended."""

    def __init__(self) -> None:
        self.listed, self.registered = {b"key a", b"key b"}, {b"key a", b"key b"}
        self.dismissed: list[bytes] = []
        self.admission = Admission(
            lambda: frozenset(self.listed), self.registered.__contains__, self.dismissed.append
        )

    def standing(self, header: bytes) -> KeyStatus:
        async def ask() -> KeyStatus:
            self.admission._watch = None
            found = self.admission.standing(header)
            self.admission.look()
            return found

        return asyncio.run(ask())


def test_a_listed_key_is_admitted() -> None:
    assert World().standing(A) is KeyStatus.ADMITTED


def test_a_stranger_is_not() -> None:
    assert World().standing(b64encode(b"key x")) is KeyStatus.EXCLUDED


def test_a_key_that_is_not_registered_yet_has_to_wait() -> None:
    world = World()
    world.registered.clear()
    assert world.standing(A) is KeyStatus.STARTING


def test_a_key_that_left_the_list_is_refused_and_its_session_ended() -> None:
    world = World()
    world.standing(A)
    world.listed.discard(b"key a")
    world.admission.look()
    assert (world.standing(A), world.standing(B)) == (KeyStatus.EXCLUDED, KeyStatus.ADMITTED)
    assert world.dismissed == [b"key a"]


def test_a_key_that_came_back_is_admitted() -> None:
    world = World()
    world.listed.discard(b"key a")
    world.admission.look()
    world.listed.add(b"key a")
    world.admission.look()
    assert world.standing(A) is KeyStatus.ADMITTED


def test_who_waits_hears_of_its_exclusion_and_nobody_else() -> None:
    world = World()

    async def wait() -> tuple[bool, bool]:
        one = asyncio.ensure_future(world.admission.until_excluded(A))
        other = asyncio.ensure_future(world.admission.until_excluded(B))
        await asyncio.sleep(0)
        world.listed.discard(b"key a")
        world.admission.look()
        await asyncio.sleep(0)
        other.cancel()
        return one.done(), other.done()

    assert asyncio.run(wait()) == (True, False)


@pytest.mark.parametrize("header", [b"", b"!", b"abc"])
def test_a_header_that_is_no_key_is_flowers_to_refuse(header: bytes) -> None:
    assert decode(header) == b""
    assert World().standing(header) is KeyStatus.ADMITTED
