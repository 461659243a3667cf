"""Encode prompts and responses to token ids with an exact boundary, and decode replies.

Knows nothing of templates beyond the `Rendered` they return.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from fedsafe.contracts import Rendered, Sample
from fedsafe.data.chat_template import Conversation, around, common
from fedsafe.errors import DataError, ModelError, reason_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Template = Callable[[Sample], Rendered]
TWO_REPLIES = ("xyz", "klm")
"""Replies of no common beginning: what texts with them share stands before any reply."""


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", prompt: str, prefill: str = "") -> list[int]:
    """Return the token ids that generation starts from, as training has them.

    A prefill follows as a reply does in the tokenizer's chat template, where the prompt ends
    as that asks for one; else after a space, unless the prompt ends in white space. Where
    sample and template are at hand, `reply_start` is exact for any template.

    Raises:
        DataError: The tokenizer cannot take the text.
    """
    text = prefill.rstrip()
    ((before, begun),) = ids_of(
        tokenizer, [(prompt, _gap(tokenizer, prompt) + text if text else "")]
    )
    return [*before, *begun]


def reply_start(
    tokenizer: "PreTrainedTokenizerBase",
    template: Template,
    sample: Sample,
    prefill: str = "",
    *,
    rows: int | None = None,
) -> tuple[list[int], int]:
    """Return the token ids that a reply to a sample goes on from, and where the reply begins.

    The prefill has the ids that a training text has which begins so. White space at its end
    is left to the model, whose tokens begin with it.

    Raises:
        DataError: The tokenizer cannot take the text, or the model's embedding of so many
            ``rows`` has none for a token.
    """
    text = prefill.rstrip()
    prompt = template(sample).prompt
    begun = _begun(template, sample, text) if text else ""
    ((before, after),) = ids_of(tokenizer, [(prompt, begun)])
    check_rows(tokenizer, [*before, *after], rows)
    return [*before, *after], len(before)


def first_tokens(tokenizer: "PreTrainedTokenizerBase", text: str, count: int) -> str:
    """Return a text up to the end of its first tokens; a character is never cut."""
    if count == 0:
        return ""
    if tokenizer.is_fast:
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ends = [end for _, end in found["offset_mapping"]]
        return text if count >= len(ends) else text[: ends[count - 1]]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return str(tokenizer.decode(ids[:count])).rstrip("\N{REPLACEMENT CHARACTER}")


def reply_texts(
    tokenizer: "PreTrainedTokenizerBase", replies: Sequence[Sequence[int]]
) -> list[str]:
    """Return the text of whole replies, prefill included: decoded as one, never joined."""
    found = tokenizer.batch_decode(
        [list(reply) for reply in replies],
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    return [text.strip() for text in found]


def pad_id(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return an id to pad with: the pad token, another unless there is none but the end.

    Padding is masked by length, so even the end-of-sequence token does no harm.
    """
    end = tokenizer.eos_token_id
    for token in (tokenizer.pad_token_id, tokenizer.unk_token_id):
        if token is not None and token != end:
            return int(token)
    return int(end) if end is not None else 0


def first_token(tokenizer: "PreTrainedTokenizerBase", text: str, *, single: bool = False) -> int:
    """Return the id of a text's first token.

    Raises:
        DataError: There is none, or ``single`` is set and there are more.
    """
    (ids,) = encode(tokenizer, [text])
    if not ids or (single and len(ids) > 1):
        raise DataError(
            f"The target {text!r} is {len(ids)} tokens ({tokenizer.convert_ids_to_tokens(ids)}); "
            f"expected {'one' if single else 'at least one'}. Choose another text."
        )
    return int(ids[0])


def ids_of(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[tuple[str, str]]
) -> list[tuple[list[int], list[int]]]:
    """Return the token ids of each (prompt, continuation), the boundary kept.

    A continuation has the tokens it has in its context, unless a token would span the
    boundary: then it has those it has by itself.

    Raises:
        DataError: The tokenizer cannot take a text.
    """
    if not texts:
        return []
    prompts = encode(tokenizer, [prompt for prompt, _ in texts])
    wholes = encode(tokenizer, [prompt + continuation for prompt, continuation in texts])
    start = _leading(tokenizer)
    found = []
    for (prompt, continuation), before, whole in zip(texts, prompts, wholes, strict=True):
        if whole[: len(before)] == before:
            after = whole[len(before) :]
        else:
            after = encode(tokenizer, [continuation])[0]
        lead = [] if prompt.startswith(tokenizer.bos_token or "\0") else start
        found.append(([*lead, *before], after))
    return found


def encode(tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> list[list[int]]:
    """Return the token ids of texts, no special tokens added.

    Raises:
        DataError: The tokenizer cannot take one of them.
    """
    try:
        encoded: list[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
    except Exception as error:  # noqa: BLE001 - whatever a tokenizer raises
        if len(texts) > 1:
            return [encode(tokenizer, [text])[0] for text in texts]
        raise _unfit(texts[0], error) from None
    return encoded


def check_rows(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int], rows: int | None) -> None:
    """Check that a model has an embedding for every id.

    Raises:
        DataError: It has none for one; the message names the token.
    """
    if rows is not None and ids and max(ids) >= rows:
        token = tokenizer.convert_ids_to_tokens(max(ids))
        raise DataError(
            f"A text holds the token {token!r} (id {max(ids)}), and the model's embedding has "
            f"{rows} rows. Take it out of the text, or resize the model's embedding and save it."
        )


def _begun(template: Template, sample: Sample, prefill: str) -> str:
    """Return the beginning of a response, as the template writes one that begins so."""

    def response(reply: str) -> str:
        text = template(replace(sample, response=reply, segments=(), rejected=""))
        return text.response

    one, other = map(response, TWO_REPLIES)
    lead = one[: common(one, other)]
    written = response(prefill).removeprefix(lead)
    kept = prefill.lstrip()
    return lead + (kept if written.startswith(kept) else prefill)


def _gap(tokenizer: "PreTrainedTokenizerBase", prompt: str) -> str:
    """Return what stands between a prompt and the reply to it."""
    if tokenizer.chat_template:
        with suppress(ModelError):
            asked = Conversation(tokenizer, "", ()).generation_prompt("question")
            if prompt.endswith(asked.rpartition("question")[2]):
                return around(tokenizer, "")[0]
    return " " if prompt and not prompt[-1].isspace() else ""


def _leading(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the beginning-of-sequence id if the tokenizer adds one by itself."""
    beginning = tokenizer.bos_token_id
    with_special: list[int] = tokenizer("a")["input_ids"]
    return [beginning] if beginning is not None and with_special[:1] == [beginning] else []


def _unfit(text: str, error: Exception) -> DataError:
    broken = next((c for c in text if "\ud800" <= c <= "\udfff"), "")
    place = max(text.find(broken) - 20, 0) if broken else 0
    what = f"the half of a character, {broken!r}," if broken else reason_of(error)
    return DataError(
        f"The tokenizer cannot take the text {text[place : place + 40]!r}: {what} cannot be "
        "encoded. Correct the text."
    )
