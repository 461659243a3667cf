"""Ask an OpenAI-compatible endpoint many prompts: at once, within budgets, each of them once.

A reply is kept as soon as it is there, so that what was paid for is never asked again.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Final

from fedsafe.errors import RunError
from fedsafe.evaluation.judges.endpoint_calls import (
    Connection,
    Endpoint,
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
        self._endpoint, self._cache, self._meter = endpoint, cache, _Meter(endpoint)
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
                f"are kept in {self._endpoint.cache}; the same command goes on."
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
            self._meter.count(tokens)
            self.known = True
        except Exception as error:  # noqa: BLE001 - the first one ends the work, and is told
            if is_of_the_prompt(error):
                self._refused[key] = error
            if not is_of_the_prompt(error) or (len(self._refused) >= AT_FIRST and not self.known):
                self._stop.append(error)

    def _said(self, error: Exception) -> str:
        return str(error) if isinstance(error, RunError) else sentence(self._endpoint, error)


class _Meter:
    """Counts requests and tokens against their budgets."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint, self._lock = endpoint, Lock()
        self._calls = self._tokens = 0

    def take(self) -> None:
        """Count a request, if it may be made.

        Raises:
            RunError: A budget is used up.
        """
        calls, tokens = self._endpoint.max_calls, self._endpoint.max_tokens
        with self._lock:
            if calls and self._calls >= calls:
                raise RunError(f"The budget of {calls} calls (max_calls) is used up.")
            if tokens and self._tokens >= tokens:
                raise RunError(
                    f"The budget of {tokens} tokens (max_tokens) is used up: {self._tokens} were."
                )
            self._calls += 1

    def count(self, tokens: int) -> None:
        """Add the tokens of a reply."""
        with self._lock:
            self._tokens += tokens


def _key(endpoint: Endpoint, prompt: str) -> str:
    parts = [endpoint.url, endpoint.model, endpoint.api, endpoint.max_new_tokens, prompt]
    parts += [f"system: {endpoint.system}"] if endpoint.system else []
    parts += [json.dumps(dict(endpoint.options), sort_keys=True)] if endpoint.options else []
    return digest(*parts)
