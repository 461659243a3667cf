"""Ask an OpenAI-compatible endpoint many prompts: at once, within budgets, each of them once.

A reply is kept as soon as it is there, so that what was paid for is never asked again.
"""

import json
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import ClassVar, Final

from fedsafe.errors import RunError
from fedsafe.evaluation.judges.endpoint_calls import (
    Connection,
    Endpoint,
    SaidNothing,
    is_of_the_prompt,
    sentence,
)
from fedsafe.evaluation.judges.reply_cache import ReplyCache
from fedsafe.runs.files import digest

AT_FIRST: Final = 8
"""So many requests refused, and none answered, end the work: it is not the prompts."""


@dataclass(frozen=True)
class Said:
    """What an endpoint said to a prompt.

    Attributes:
        text: Its reply; or why it takes no such prompt.
        answered: Whether it is a reply.
    """

    text: str
    answered: bool = True


def ask(endpoint: Endpoint, prompts: Sequence[str]) -> list[Said]:
    """Return what the endpoint says to each prompt, greedily, in order.

    A prompt that it refuses alone (too long, or caught by its filter) has no reply; it is asked
    again next time.

    Raises:
        MissingDependencyError: The package openai is not installed.
        RunError: The endpoint failed, or a budget is used up; what was replied is kept.
    """
    cache = ReplyCache(endpoint.cache)
    try:
        keys = [_key(endpoint, prompt) for prompt in prompts]
        missing = {
            key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in cache
        }
        work = _Work(endpoint, cache, known=len(missing) < len(set(keys)))
        refused = work.run(missing) if missing else {}
        return [Said(refused[k], answered=False) if k in refused else Said(cache[k]) for k in keys]
    finally:
        cache.close()


class _Work:
    """Prompts that are not in the cache: their replies go there, and single refusals are kept.

    Attributes:
        known: Whether the endpoint has answered such prompts.
    """

    def __init__(self, endpoint: Endpoint, cache: ReplyCache, *, known: bool) -> None:
        self.known = known
        self._endpoint, self._cache, self._meter = endpoint, cache, _Meter.of(endpoint)
        self._stop: list[Exception] = []
        self._refused: dict[str, Exception] = {}

    def run(self, missing: Mapping[str, str]) -> dict[str, str]:
        """Ask prompts by key; return why single ones were refused.

        Raises:
            RunError: The endpoint failed, refuses all prompts, or a budget is used up.
        """
        self._there = Connection(self._endpoint)
        try:
            with ThreadPoolExecutor(self._endpoint.concurrency) as pool:
                list(pool.map(self._one, missing.items()))
        finally:
            self._there.close()
        if not self.known:
            self._stop += self._refused.values()
        if self._stop:
            left = sum(key not in self._cache for key in missing)
            raise RunError(
                f"{self._said(self._stop[0])} {len(missing) - left} of {len(missing)} new replies "
                f"are kept in {self._endpoint.cache}; the same command, of a run `fedsafe resume`, "
                "goes on."
            ) from None
        return {key: self._said(error) for key, error in self._refused.items()}

    def _one(self, item: tuple[str, str]) -> None:
        key, prompt = item
        if self._stop:
            return
        try:
            self._meter.take()
            reply, tokens = self._there.ask(prompt)
            self._cache.put(key, reply)
            self.known = True
            self._meter.count(tokens)
        except Exception as error:  # noqa: BLE001 - the first one ends the work, and is told
            if isinstance(error, SaidNothing):
                self._meter.count(error.tokens or 0)
            if is_of_the_prompt(error):
                self._refused[key] = error
            if not is_of_the_prompt(error) or (len(self._refused) >= AT_FIRST and not self.known):
                self._stop.append(error)

    def _said(self, error: Exception) -> str:
        return str(error) if isinstance(error, RunError) else sentence(self._endpoint, error)


class _Meter:
    """Counts requests and tokens of one process against their budgets.

    A command judges stage after stage: they share the meter of their endpoint and budgets. It
    begins anew after a budget was used up.
    """

    _known: ClassVar[dict[Hashable, "_Meter"]] = {}

    def __init__(self, endpoint: Endpoint) -> None:
        self._calls, self._tokens = endpoint.max_calls, endpoint.max_tokens
        self._lock, self._asked, self._taken = Lock(), 0, 0
        self._key = self._key_of(endpoint)

    @classmethod
    def of(cls, endpoint: Endpoint) -> "_Meter":
        """Return the meter of an endpoint and its budgets."""
        return cls._known.setdefault(cls._key_of(endpoint), cls(endpoint))

    @staticmethod
    def _key_of(endpoint: Endpoint) -> Hashable:
        return endpoint.url, endpoint.model, endpoint.max_calls, endpoint.max_tokens

    def take(self) -> None:
        """Count a request, if it may be made.

        Raises:
            RunError: A budget is used up.
        """
        with self._lock:
            if self._calls and self._asked >= self._calls:
                raise self._used_up(f"The budget of {self._calls} calls (max_calls) is used up.")
            if self._tokens and self._taken >= self._tokens:
                raise self._used_up(
                    f"The budget of {self._tokens} tokens (max_tokens) is used up: {self._taken} "
                    "were."
                )
            self._asked += 1

    def count(self, tokens: int | None) -> None:
        """Add the tokens of a reply; None: the endpoint says nothing of them.

        Raises:
            RunError: There is a budget of tokens, which cannot be held so.
        """
        if tokens is None and self._tokens:
            raise RunError(
                "The endpoint does not say how many tokens a reply took, so that max_tokens cannot "
                "be held. Use max_calls."
            )
        with self._lock:
            self._taken += tokens or 0

    def _used_up(self, sentence: str) -> RunError:
        self._known.pop(self._key, None)
        return RunError(sentence)


def _key(endpoint: Endpoint, prompt: str) -> str:
    parts = [endpoint.url, endpoint.model, endpoint.api, endpoint.max_new_tokens, prompt]
    parts += [f"system: {endpoint.system}"] if endpoint.system else []
    parts += [json.dumps(dict(endpoint.options), sort_keys=True)] if endpoint.options else []
    return digest(*parts)
