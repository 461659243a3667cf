"""Ask an OpenAI-compatible endpoint: retries, concurrency, budgets, and a cache on disk.

A reply is kept as soon as it is there, so that what was paid for is never asked again. The cache
holds digests of requests and replies to them; neither requests nor keys.
"""

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Final

from fedsafe.errors import MissingDependencyError, RunError, reason_of
from fedsafe.runs.files import digest

NO_KEY: Final = "none"
"""Sent where no key is named: local servers ask for none, and the client needs some text."""
OF_THE_PROMPT: Final = frozenset({400, 413, 422})
"""Status of a request that is refused for what it holds: too long, or caught by a filter."""
AT_FIRST: Final = 8
"""So many requests refused, and none answered, end the work: it is not the prompts."""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint and how it is asked.

    Attributes:
        url: Base address, such as ``http://localhost:8000/v1``.
        model: Name of the model there.
        key: Sent with each request; empty: none.
        api: ``chat``, or ``completions`` for a prompt as it is.
        max_new_tokens: Longest reply.
        retries: Further tries after an error that may pass, with growing pauses.
        timeout: Seconds to wait for one reply.
        concurrency: Requests at a time.
        max_calls: Most requests; 0: any number. Those in the cache cost none.
        max_tokens: Most tokens of requests and replies, as the endpoint counts; 0: any number.
        cache: File of the cache.
        system: Text of a system turn before each prompt; empty: none.
        options: More fields of each request; None leaves one of ours out.
    """

    url: str
    model: str
    key: str = field(repr=False)
    api: str
    max_new_tokens: int
    retries: int
    timeout: float
    concurrency: int
    max_calls: int
    max_tokens: int
    cache: Path
    system: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """What an endpoint said to a prompt.

    Attributes:
        text: Its reply; or why it takes no such prompt.
        answered: Whether it is a reply.
    """

    text: str
    answered: bool = True


class _Spent(Exception):  # noqa: N818 - leaves a worker, never this module
    """A budget is used up."""


class _NoReply(Exception):  # noqa: N818 - leaves a worker, never this module
    """What the endpoint sent is no reply."""


def ask(endpoint: Endpoint, prompts: Sequence[str]) -> list[Said]:
    """Return what the endpoint says to each prompt, greedily, in order.

    A prompt that it refuses alone (too long, or caught by its filter) has no reply; it is asked
    again next time.

    Raises:
        MissingDependencyError: The package openai is not installed.
        RunError: The endpoint failed, or a budget is used up; what was replied is kept.
    """
    cache = _Cache(endpoint.cache)
    try:
        keys = [_key(endpoint, prompt) for prompt in prompts]
        missing = {
            key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in cache
        }
        known = len(missing) < len(set(keys))
        refused = _fetch(endpoint, missing, cache, known=known) if missing else {}
        return [Said(refused[k], answered=False) if k in refused else Said(cache[k]) for k in keys]
    finally:
        cache.close()


def _fetch(
    endpoint: Endpoint, missing: dict[str, str], cache: "_Cache", *, known: bool
) -> dict[str, str]:
    """Ask what is not in the cache; return why single prompts were refused, by key.

    Args:
        endpoint: Who is asked.
        missing: Prompts by key.
        cache: Keeps the replies.
        known: Whether the endpoint has answered such prompts before.

    Raises:
        RunError: It failed, refuses all prompts, or a budget is used up.
    """
    one, close = _caller(endpoint)
    meter = _Meter(endpoint)
    stop: list[Exception] = []
    refused: dict[str, Exception] = {}

    def job(item: tuple[str, str]) -> None:
        key, prompt = item
        if stop:
            return
        try:
            meter.take()
            reply, tokens = one(prompt)
            cache.put(key, reply)
            meter.count(tokens)
        except Exception as error:  # noqa: BLE001 - the first one ends the work, and is told
            if getattr(error, "status_code", None) not in OF_THE_PROMPT:
                stop.append(error)
                return
            refused[key] = error
            if len(refused) == AT_FIRST and not known and not meter.answered:
                stop.append(error)

    try:
        with ThreadPoolExecutor(endpoint.concurrency) as pool:
            list(pool.map(job, missing.items()))
    finally:
        close()
    if refused and not known and not meter.answered:
        stop += refused.values()
    if stop:
        left = sum(key not in cache for key in missing)
        kept = f"{len(missing) - left} of {len(missing)} new replies are kept in {endpoint.cache}"
        raise RunError(
            f"{_sentence(endpoint, stop[0])} {kept}; the same command goes on."
        ) from None
    return {key: _sentence(endpoint, error) for key, error in refused.items()}


def _caller(endpoint: Endpoint) -> tuple[Callable[[str], tuple[str, int]], Callable[[], None]]:
    """Return a function from a prompt to its reply and tokens, and one that ends the connection."""
    try:
        import openai
    except ImportError:
        raise MissingDependencyError(
            "A judge behind an endpoint needs the package openai: pip install 'fedsafe[judges]'."
        ) from None
    client = openai.OpenAI(
        base_url=endpoint.url,
        api_key=endpoint.key or NO_KEY,
        max_retries=endpoint.retries,
        timeout=endpoint.timeout,
    )
    common: dict[str, Any] = {
        "max_tokens": endpoint.max_new_tokens,
        "temperature": 0.0,
        **endpoint.options,
    }
    common = {name: value for name, value in common.items() if value is not None}
    system = [{"role": "system", "content": endpoint.system}] if endpoint.system else []
    create: Any = client.completions.create
    if endpoint.api == "chat":
        create = client.chat.completions.create

    def one(prompt: str) -> tuple[str, int]:
        turns = [*system, {"role": "user", "content": prompt}]
        said = create(
            **({"messages": turns} if endpoint.api == "chat" else {"prompt": prompt}),
            model=endpoint.model,
            extra_body=common,
        )
        try:
            choice = said.choices[0]
            text = choice.message.content if endpoint.api == "chat" else choice.text
        except (AttributeError, IndexError, TypeError):
            raise _NoReply(f"{type(said).__name__} {str(said)[:60]!r}") from None
        tokens = getattr(said.usage, "total_tokens", 0) if said.usage else 0
        return text or "", int(tokens or 0)

    return one, client.close


class _Meter:
    """Counts requests and tokens against their budgets."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint, self._lock = endpoint, Lock()
        self._calls = self._tokens = 0
        self.answered = False

    def take(self) -> None:
        """Count a request, if it may be made.

        Raises:
            _Spent: It may not.
        """
        calls, tokens = self._endpoint.max_calls, self._endpoint.max_tokens
        with self._lock:
            if calls and self._calls >= calls:
                raise _Spent(f"The budget of {calls} calls (max_calls) is used up.")
            if tokens and self._tokens >= tokens:
                raise _Spent(
                    f"The budget of {tokens} tokens (max_tokens) is used up: {self._tokens} were."
                )
            self._calls += 1

    def count(self, tokens: int) -> None:
        """Add the tokens of a reply."""
        with self._lock:
            self._tokens += tokens
            self.answered = True


class _Cache:
    """Replies by the digest of what was asked, in one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._lock = Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, check_same_thread=False, timeout=60)
            with self._base:
                self._base.execute(
                    "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply)"
                )
        except (OSError, sqlite3.Error) as error:
            raise RunError(
                f"cache: {path} is no cache of replies ({error}). Name another."
            ) from None

    def __contains__(self, key: str) -> bool:
        return self._row(key) is not None

    def __getitem__(self, key: str) -> str:
        row = self._row(key)
        if row is None:
            raise KeyError(key)
        return str(row[0])

    def put(self, key: str, reply: str) -> None:
        """Keep a reply."""
        with self._lock, self._base:
            self._base.execute("INSERT OR REPLACE INTO replies VALUES (?, ?)", (key, reply))

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def _row(self, key: str) -> Any:
        with self._lock:
            return self._base.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()


def _key(endpoint: Endpoint, prompt: str) -> str:
    parts = [endpoint.url, endpoint.model, endpoint.api, endpoint.max_new_tokens, prompt]
    parts += [f"system: {endpoint.system}"] if endpoint.system else []
    parts += [json.dumps(dict(endpoint.options), sort_keys=True)] if endpoint.options else []
    return digest(*parts)


def _sentence(endpoint: Endpoint, error: Exception) -> str:
    """Say what failed."""
    if isinstance(error, _Spent):
        return str(error)
    status, why = getattr(error, "status_code", None), reason_of(error)
    tried = f"after {endpoint.retries + 1} tries" if endpoint.retries else "at the first try"
    if status == 429:
        return f"{endpoint.url} limits the rate, {tried} (429: {why}). Lower concurrency, or wait."
    if status is not None:
        return f"{endpoint.url} answered with an error ({status}: {why})."
    if isinstance(error, sqlite3.Error | OSError):
        return f"cache: {endpoint.cache} cannot be written ({why})."
    if isinstance(error, _NoReply | ValueError):
        return (
            f"{endpoint.url} answered with something else than a reply of the {endpoint.api} API: "
            f"{why}. Check the address, which mostly ends in /v1."
        )
    return f"{endpoint.url} cannot be reached, {tried} ({type(error).__name__}: {why})."
