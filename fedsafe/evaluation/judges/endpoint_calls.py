"""One request to an OpenAI-compatible endpoint: what is sent, its reply, and its errors in words.

The openai client tries again by itself where an error may pass. Knows nothing of caches or budgets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fedsafe.errors import MissingDependencyError, reason_of
from fedsafe.redaction import redact

NO_KEY: Final = "none"
"""Sent where no key is named: local servers ask for none, and the client needs some text."""
OF_THE_PROMPT: Final = frozenset({400, 413, 422})
"""Status of a request that is refused for what it holds: too long, or caught by a filter."""


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


class _NoReply(Exception):  # noqa: N818 - told by `sentence`, never raised to a user
    """What the endpoint sent is no reply."""


class SaidNothing(Exception):  # noqa: N818 - told by `sentence`, never raised to a user
    """A reply without text: cut off while the model reasons, or withheld by a filter.

    Attributes:
        tokens: That it took, as the endpoint counts.
    """

    def __init__(self, why: str, tokens: int | None) -> None:
        super().__init__(why)
        self.tokens = tokens


class Connection:
    """An open connection to an endpoint.

    Raises:
        MissingDependencyError: The package openai is not installed.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        try:
            import openai
        except ImportError:
            raise MissingDependencyError(
                "A judge behind an endpoint needs the package openai: pip install "
                "'fedsafe[judges]'."
            ) from None
        self._endpoint, self._chat = endpoint, endpoint.api == "chat"
        self._client = openai.OpenAI(
            base_url=endpoint.url,
            api_key=endpoint.key or NO_KEY,
            max_retries=endpoint.retries,
            timeout=endpoint.timeout,
        )
        ours = {"max_tokens": endpoint.max_new_tokens, "temperature": 0.0}
        sent = {**ours, **endpoint.options}
        self._fields = {name: value for name, value in sent.items() if value is not None}

    def ask(self, prompt: str) -> tuple[str, int | None]:
        """Return the reply to a prompt, greedily, and its tokens; None: the endpoint counts none.

        Raises:
            SaidNothing: The reply has no text.
            Exception: As the openai client has it.
        """
        client, model = self._client, self._endpoint.model
        create: Any = client.chat.completions.create if self._chat else client.completions.create
        asked = {"messages": self._turns(prompt)} if self._chat else {"prompt": prompt}
        said = create(model=model, extra_body=self._fields, **asked)
        try:
            choice = said.choices[0]
            text = choice.message.content if self._chat else choice.text
        except (AttributeError, IndexError, TypeError):
            raise _NoReply(f"{type(said).__name__} {str(said)[:60]!r}") from None
        tokens = getattr(said.usage, "total_tokens", None)
        if not text:
            raise SaidNothing(f"finish_reason {getattr(choice, 'finish_reason', None)}", tokens)
        return str(text), tokens

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def _turns(self, prompt: str) -> list[dict[str, str]]:
        system = self._endpoint.system
        first = [{"role": "system", "content": system}] if system else []
        return [*first, {"role": "user", "content": prompt}]


def is_of_the_prompt(error: Exception) -> bool:
    """Tell whether an endpoint refused a request for what it holds, or said nothing to it."""
    return isinstance(error, SaidNothing) or getattr(error, "status_code", None) in OF_THE_PROMPT


def sentence(endpoint: Endpoint, error: Exception) -> str:
    """Say what failed, without the key, which some servers repeat."""
    status = getattr(error, "status_code", None)
    why = redact(reason_of(error), [endpoint.key] if endpoint.key else [])
    tried = f"after {endpoint.retries + 1} tries" if endpoint.retries else "at the first try"
    if status == 429:
        return f"{endpoint.url} limits the rate, {tried} (429: {why}). Lower concurrency, or wait."
    if status is not None:
        return f"{endpoint.url} answered with an error ({status}: {why})."
    if isinstance(error, SaidNothing):
        return (
            f"{endpoint.url} replied without a text ({why}). Raise max_new_tokens for a model that "
            "reasons before it answers."
        )
    if isinstance(error, _NoReply | ValueError):
        return (
            f"{endpoint.url} answered with something else than a reply of the {endpoint.api} API: "
            f"{why}. Check the address, which mostly ends in /v1."
        )
    return f"{endpoint.url} cannot be reached, {tried} ({type(error).__name__}: {why})."
