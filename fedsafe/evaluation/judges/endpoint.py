"""Judge through an OpenAI-compatible endpoint: a hosted model, vLLM, `transformers serve`, ..."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, SecretStr

from fedsafe.contracts import Exchange, Verdict, judges
from fedsafe.errors import ConfigError
from fedsafe.evaluation.answers import Match
from fedsafe.evaluation.judges import parsers
from fedsafe.evaluation.judges.endpoint_calls import Endpoint
from fedsafe.evaluation.judges.endpoint_client import Said, ask
from fedsafe.evaluation.judges.styles import (
    Parser,
    Prompt,
    StyleName,
    asked,
    fill,
    prompts,
    style_of,
    unread,
    verdict_of,
)
from fedsafe.redaction import revealed

Url = Annotated[
    str, Field(pattern=r"^https?://", description="Base address, as http://localhost:8000/v1.")
]
_WORK: Final[dict[str, Any]] = {"changes_verdicts": False}
"""Of settings that say how a judge works and not what it says: they make no other judge of it."""
Key = Annotated[
    SecretStr,
    Field(
        description="env:NAME of the variable with the key; empty: none is sent.",
        json_schema_extra=_WORK,
    ),
]
NO_KEY: Final = SecretStr("")
Name = Annotated[str, Field(min_length=1, description="The model's name there.")]
Retries = Annotated[
    int,
    Field(ge=0, le=20, description="Further tries, with growing pauses.", json_schema_extra=_WORK),
]
Seconds = Annotated[
    float,
    Field(gt=0, le=3600, description="Seconds to wait for one reply.", json_schema_extra=_WORK),
]
AtOnce = Annotated[
    int, Field(ge=1, le=64, description="Requests at a time.", json_schema_extra=_WORK)
]
Calls = Annotated[
    int,
    Field(
        ge=0,
        description="Most new requests of a command; 0: any number.",
        json_schema_extra=_WORK,
    ),
]
Tokens = Annotated[
    int,
    Field(
        ge=0,
        description="Most tokens of a command, in and out; 0: any number.",
        json_schema_extra=_WORK,
    ),
]
Cache = Annotated[
    str,
    Field(min_length=1, description="File that keeps the replies.", json_schema_extra=_WORK),
]
CACHE: Final = "~/.cache/fedsafe/judge-replies.sqlite"
Options = Annotated[
    dict[str, str | int | float | bool | None],
    Field(
        description="More fields of each request, as {max_completion_tokens: 500}; null leaves "
        "one out, as {max_tokens: null}."
    ),
]
NOT_RATED_AGAINST: Final = frozenset({"extraction", "humanities", "roleplay", "stem", "writing"})
"""Categories of MT-Bench in which FastChat's judge is shown no reference answer."""
SYSTEM: Final = "You are a helpful assistant."
"""System turn of FastChat's judge prompts for first turns."""


@judges("endpoint")
def endpoint(
    exchanges: Sequence[Exchange],
    /,
    *,
    url: Url,
    model: Name,
    api_key: Key = NO_KEY,
    style: Annotated[StyleName, Field(description="Prompt and parser.")] = "strongreject",
    parser: Parser = "strict",
    prompt: Prompt = "",
    api: Annotated[
        Literal["chat", "completions"],
        Field(description="chat; or completions, which sends the prompt as it is (md-judge)."),
    ] = "chat",
    max_new_tokens: Annotated[int, Field(ge=0, description="0: enough for the style.")] = 0,
    retries: Retries = 5,
    timeout: Seconds = 60.0,
    concurrency: AtOnce = 4,
    max_calls: Calls = 0,
    max_tokens: Tokens = 0,
    cache: Cache = CACHE,
    options: Options = {},  # noqa: B006 - pydantic copies it
    match: Annotated[
        Match, Field(description="How a reply must give an expected answer to be right.")
    ] = "exact",
) -> list[Verdict]:
    """Judge with a model behind an OpenAI-compatible endpoint.

    Requests and replies go to that endpoint. Its replies are kept on disk: another run of the same
    judge asks what is new. What the parser cannot read is unknown, and so is a request that the
    endpoint refuses alone, as too long or by a filter.

    Raises:
        MissingDependencyError: The package openai is not installed.
        ConfigError: The style has no prompt.
        RunError: The endpoint failed, or a budget is used up; what it replied is kept.
    """
    chosen = style_of(style, parser, prompt)
    if not chosen.prompt:
        raise ConfigError(
            f"style: the prompt of {style} stands in its tokenizer, which an endpoint does not "
            "show. Give the prompt in a file, with {request} and {reply}."
        )
    length = max_new_tokens or chosen.max_new_tokens
    budget = (retries, timeout, concurrency, max_calls, max_tokens, Path(cache).expanduser())
    key = revealed(api_key)
    there = Endpoint(url, model, key, api, length, *budget, options=options)
    said = ask(there, [asked(chosen, exchange) for exchange in exchanges])
    return [
        verdict_of(exchange, chosen.read if one.answered else unread, one.text, match)
        for exchange, one in zip(exchanges, said, strict=True)
    ]


@judges("mt-bench")
def mt_bench(
    exchanges: Sequence[Exchange],
    /,
    *,
    url: Url,
    model: Name,
    api_key: Key = NO_KEY,
    max_new_tokens: Annotated[int, Field(ge=1, description="Longest judgment.")] = 2048,
    retries: Retries = 5,
    timeout: Seconds = 120.0,
    concurrency: AtOnce = 4,
    max_calls: Calls = 0,
    max_tokens: Tokens = 0,
    cache: Cache = CACHE,
    options: Options = {},  # noqa: B006 - pydantic copies it
) -> list[Verdict]:
    """Rate first turns from 1 to 10 as MT-Bench does (Zheng et al. 2023), at temperature 0.

    A prompt with an expected answer is rated against it; of MT-Bench's own categories, as there,
    in mathematics, reasoning and coding alone. ``score`` is the rating; measure ``judge-score`` is
    the mean, "MT-1". A judgment without a rating has no score, and is counted. Every outcome is
    unknown. Second turns are neither asked nor rated.

    Raises:
        MissingDependencyError: The package openai is not installed.
        RunError: The endpoint failed, or a budget is used up; what it replied is kept.
    """
    budget = (retries, timeout, concurrency, max_calls, max_tokens, Path(cache).expanduser())
    key = revealed(api_key)
    there = Endpoint(url, model, key, "chat", max_new_tokens, *budget, SYSTEM, options)
    said = ask(there, [_rating_prompt(exchange) for exchange in exchanges])
    return [Verdict("unknown", raw=one.text, score=_rating(one)) for one in said]


def _rating(said: Said) -> float | None:
    return parsers.mt_bench(said.text) if said.answered else None


def _rating_prompt(exchange: Exchange) -> str:
    prompt = exchange.prompt
    expected = () if prompt.topic in NOT_RATED_AGAINST else prompt.expected
    name = "mt-bench-reference" if expected else "mt-bench"
    return fill(prompts()[name], exchange, reference=expected[0] if expected else "")
