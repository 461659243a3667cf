"""Judge with a causal language model of the Hugging Face format: MD-Judge, Llama Guard, ...

MD-Judge (Li et al. 2024), Llama Guard (Inan et al. 2023), HarmBench (Mazeika et al. 2024),
StrongREJECT (Souly et al. 2024). The model is loaded once a process and asked in batches, greedily.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Final, Literal

from pydantic import Field

from fedsafe.contracts import Exchange, Verdict, judges
from fedsafe.data.tokens import pad_id
from fedsafe.errors import ModelError, reason_of
from fedsafe.evaluation.answers import Match
from fedsafe.evaluation.judges.styles import (
    Parser,
    Prompt,
    Style,
    StyleName,
    asked,
    request_of,
    style_of,
    verdict_of,
)
from fedsafe.experiment.schema import Adapter, Model
from fedsafe.models.base import LoadedModel, load
from fedsafe.models.generation import Decoding, generate

ModelPath = Annotated[
    str, Field(min_length=1, description="A local Hugging Face directory, or a hub name.")
]
TOO_LONG: Final = "the judge's prompt has {} tokens, and its model takes {}"


@judges("language-model")
def language_model(
    exchanges: Sequence[Exchange],
    /,
    *,
    model: ModelPath,
    style: Annotated[StyleName, Field(description="Prompt and parser.")] = "md-judge",
    parser: Parser = "strict",
    prompt: Prompt = "",
    chat: Annotated[
        bool, Field(description="Put the prompt as a user's turn, for a model that chats.")
    ] = False,
    revision: Annotated[str, Field(description="Commit or tag of a hub model.")] = "",
    quantization: Annotated[
        Literal["none", "int8", "nf4"], Field(description="How its weights are stored.")
    ] = "none",
    device: Annotated[str, Field(description="auto, cpu, cuda or cuda:N.")] = "auto",
    max_new_tokens: Annotated[int, Field(ge=0, description="0: enough for the style.")] = 0,
    batch_size: Annotated[int, Field(ge=1, description="Prompts at a time.")] = 16,
    match: Annotated[
        Match, Field(description="How a reply must give an expected answer to be right.")
    ] = "exact",
) -> list[Verdict]:
    """Judge with a language model that says safe or unsafe, yes or no, or fills in a rubric.

    A safe reply to a harmful prompt refuses, an unsafe one complies; what the parser cannot read,
    and a prompt longer than the model's positions, is unknown. ``raw`` is what the model said.
    Llama Guard takes its prompt from its tokenizer's chat template.

    Raises:
        ModelError: The model cannot be loaded, or its tokenizer has no chat template.
        ConfigError: Prompt or parser do not suit the style.
    """
    chosen = style_of(style, parser, prompt)
    spec = Model(path=model, revision=revision or None, quantization=quantization, device=device)
    loaded = judge_model(spec)
    prompts = [_ids(loaded, chosen, exchange, chat=chat) for exchange in exchanges]
    decoding = Decoding(
        max_new_tokens=max_new_tokens or chosen.max_new_tokens,
        batch_size=batch_size,
        stop=_stop(loaded),
        pad=pad_id(loaded.tokenizer),
    )
    positions = getattr(loaded.model.config, "max_position_embeddings", None)
    most = positions - decoding.max_new_tokens if positions else None
    fits = [most is None or len(ids) <= most for ids in prompts]
    wanted = [ids for ids, one in zip(prompts, fits, strict=True) if one]
    replies = iter(generate(loaded, wanted, decoding))
    found = []
    for exchange, ids, one in zip(exchanges, prompts, fits, strict=True):
        if not one:
            found.append(Verdict("unknown", raw=TOO_LONG.format(len(ids), most)))
            continue
        raw = _text(loaded, ids, next(replies))
        found.append(verdict_of(exchange, chosen.read, raw, match))
    return found


@lru_cache(maxsize=1)
def judge_model(spec: Model) -> LoadedModel:
    """Return a judge's model, loaded once as long as no other judge model is asked for.

    Raises:
        ModelError: It cannot be loaded.
    """
    return load(spec, Adapter())


def _ids(loaded: LoadedModel, style: Style, exchange: Exchange, *, chat: bool) -> list[int]:
    """Return the token ids of what the judge is asked about an exchange."""
    tokenizer = loaded.tokenizer
    if style.prompt and not chat:
        return list(tokenizer(asked(style, exchange))["input_ids"])
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            f"The tokenizer in {loaded.directory} has no chat template, which the style or 'chat' "
            "needs. Use the model's own tokenizer, or another style with chat: false."
        )
    turns = [("user", asked(style, exchange) if style.prompt else request_of(exchange))]
    if not style.prompt:
        turns.append(("assistant", exchange.reply))
    text = _rendered(loaded, turns, begins_reply=bool(style.prompt))
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _rendered(loaded: LoadedModel, turns: Sequence[tuple[str, str]], *, begins_reply: bool) -> str:
    """Return turns in the tokenizer's chat template, each as a text or, if it shows none, as parts.

    Llama Guard 3 1B takes parts, and would judge an empty conversation without a word.

    Raises:
        ModelError: The template takes neither.
    """
    words = [(role, f"word{number}") for number, (role, _) in enumerate(turns)]
    reason = "it leaves them out"
    for parts in (False, True):
        try:
            shown = _in_template(loaded, words, begins_reply, parts)
            if all(word in shown for _, word in words):
                return _in_template(loaded, turns, begins_reply, parts)
        except Exception as error:  # noqa: BLE001 - a template raises what it likes
            reason = reason_of(error)
    raise ModelError(
        f"The chat template of {loaded.directory} does not take a request and a reply ({reason}). "
        "Use the style that the model was made for, or its own tokenizer."
    )


def _in_template(
    loaded: LoadedModel, turns: Sequence[tuple[str, str]], begins_reply: bool, parts: bool
) -> str:
    chat = [
        {"role": role, "content": [{"type": "text", "text": text}] if parts else text}
        for role, text in turns
    ]
    apply = loaded.tokenizer.apply_chat_template
    return str(apply(chat, tokenize=False, add_generation_prompt=begins_reply))


def _text(loaded: LoadedModel, ids: Sequence[int], new: Sequence[int]) -> str:
    """Return new text with its leading blanks, which a tokenizer drops at the beginning."""
    decode = loaded.tokenizer.decode
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    before = decode(list(ids), **options)
    return str(decode([*ids, *new], **options)[len(before) :])


def _stop(loaded: LoadedModel) -> tuple[int, ...]:
    """Return the ids that end a reply."""
    configured = getattr(loaded.model.generation_config, "eos_token_id", None)
    found = {loaded.tokenizer.eos_token_id}
    found.update(configured if isinstance(configured, list) else [configured])
    return tuple(sorted(token for token in found if token is not None))
