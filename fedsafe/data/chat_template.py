"""A tokenizer's own chat template: its generation prompt, its replies, and where they stand.

Knows nothing of samples or loss weights.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from fedsafe.contracts import Turn
from fedsafe.data.loss_parts import History, Span
from fedsafe.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBE: Final = "reply"
"""Stands for a response when the text around one is looked up."""
DAY: Final = {
    **{"%d": "26", "%b": "Jul", "%B": "July", "%m": "07", "%Y": "2024", "%y": "24"},
    **{"%A": "Friday", "%a": "Fri", "%H": "12", "%M": "00", "%S": "00"},
}
"""The day that templates which state one are told, so that no run depends on the clock."""
CLOCK: Final = "".join(
    (
        "{%- macro strftime_now(format) -%}{{ format",
        *(f" | replace('{code}', '{value}')" for code, value in DAY.items()),
        " }}{%- endmacro +%}",
    )
)
"""What makes a template's clock stand still; transformers hands no function through."""


class Conversation:
    """The conversation of a tokenizer's chat template, with earlier turns."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", system: str, history: History) -> None:
        self._tokenizer, self._system, self._history = tokenizer, system, history

    def generation_prompt(self, asked: str, turns: int | None = None) -> str:
        """Return the text that asks for a reply after so many earlier turns (None: all)."""
        history = self._history if turns is None else self._history[:turns]
        prompt = _render(self._tokenizer, self._system, asked, history=history)
        return prompt.rstrip() if _strips(self._tokenizer, self._system) else prompt

    def body(self, asked: str, reply: str) -> str:
        """Return what the whole conversation adds to the generation prompt."""
        prompt = self.generation_prompt(asked)
        whole = _render(self._tokenizer, self._system, asked, reply, self._history)
        if not whole.startswith(prompt):
            raise ModelError(
                "The chat template of this tokenizer does not begin a conversation with its "
                f"generation prompt, which ends in {prompt[-40:]!r}. Use the template 'alpaca'."
            )
        return whole.removeprefix(prompt)

    def spans(self, prompt: str, asked: str, end: str) -> list[Span]:
        """Return where the replies of the earlier turns begin and end in the prompt.

        A reply is found by rendering the conversation with another in its place: the texts
        differ there alone. It begins where its own generation prompt ends, where the prompt
        has that (templates may write earlier turns in another way), and ends with the text
        that ends a turn, where the template writes it.
        """
        found = []
        for number, turn in enumerate(self._history):
            reply = turn.response.strip()
            if not reply:
                continue
            other = next(text for text in ("xyz", "klm", "abc") if _apart(text, reply))
            changed = Turn(turn.instruction, other)
            history = (*self._history[:number], changed, *self._history[number + 1 :])
            text = Conversation(self._tokenizer, self._system, history).generation_prompt(asked)
            begin = common(prompt, text)
            close = len(prompt) - common(prompt[::-1], text[::-1])
            if begin >= close:
                raise ModelError(
                    "The chat template of this tokenizer leaves earlier replies out of the "
                    "conversation. Use the template 'alpaca', or samples of one exchange."
                )
            own = self.generation_prompt(turn.instruction, number)
            if len(own) <= begin and prompt.startswith(own):
                begin = len(own)
            found.append((begin, close + (len(end) if prompt.startswith(end, close) else 0)))
        return found


def _apart(text: str, reply: str) -> bool:
    return text[0] != reply[0] and text[-1] != reply[-1]


def common(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Return the length of the common beginning of two sequences."""
    for place, (mine, yours) in enumerate(zip(one, other, strict=False)):
        if mine != yours:
            return place
    return min(len(one), len(other))


@lru_cache(maxsize=64)
def around(tokenizer: "PreTrainedTokenizerBase", system: str) -> tuple[str, tuple[str, str]]:
    """Return the text before a reply, and after it: as written, and up to the stop token."""
    body = Conversation(tokenizer, system, ()).body("question", PROBE)
    before, found, after = body.partition(PROBE)
    if not found:
        raise ModelError(
            "The chat template of this tokenizer leaves replies out of the conversation. "
            "Use the template 'alpaca'."
        )
    ends = [after.find(token) + len(token) for token in _special(tokenizer) if token in after]
    return before, (after, after[: min(ends)] if ends else after + end_of_sequence(tokenizer))


@lru_cache(maxsize=16)
def takes_system(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Tell whether the chat template has a system turn."""
    try:
        return PROBE in _render(tokenizer, PROBE, "question")
    except ModelError:
        return False


@lru_cache(maxsize=64)
def _strips(tokenizer: "PreTrainedTokenizerBase", system: str) -> bool:
    """Tell whether only trailing whitespace keeps the generation prompt from being a prefix."""
    prompt = _render(tokenizer, system, "question")
    if system and system.strip() not in prompt:
        raise ModelError(
            "The chat template of this tokenizer leaves the system prompt out. "
            "Leave data.template.system empty, or put it into the instructions."
        )
    whole = _render(tokenizer, system, "question", PROBE)
    return not whole.startswith(prompt) and whole.startswith(prompt.rstrip())


def _render(
    tokenizer: "PreTrainedTokenizerBase",
    system: str,
    asked: str,
    reply: str | None = None,
    history: History = (),
) -> str:
    """Render a conversation; without a reply it ends in the generation prompt."""
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise ModelError(
            "This tokenizer has no chat template. Use the template 'alpaca', or a model that is "
            "tuned for chat."
        )
    messages = [{"role": "system", "content": system}] if system else []
    for turn in history:
        messages.append({"role": "user", "content": turn.instruction})
        messages.append({"role": "assistant", "content": turn.response})
    messages.append({"role": "user", "content": asked})
    if reply is not None:
        messages.append({"role": "assistant", "content": reply})
    template = tokenizer.get_chat_template()
    try:
        text: Any = tokenizer.apply_chat_template(
            messages,
            chat_template=CLOCK + template if "strftime_now(" in template else template,
            tokenize=False,
            add_generation_prompt=reply is None,
            enable_thinking=False,
            date_string="26 Jul 2024",
        )
    except TemplateError as error:
        remedy = "Leave data.template.system empty." if system else "Use the template 'alpaca'."
        raise ModelError(
            f"The chat template of this tokenizer refuses the conversation: {error}. {remedy}"
        ) from None
    return str(text)


def _special(tokenizer: "PreTrainedTokenizerBase") -> set[str]:
    """Return every token that the tokenizer treats as one whatever surrounds it."""
    added = tokenizer.added_tokens_decoder.values()
    return {token.content for token in added if token.special} | set(tokenizer.all_special_tokens)


def end_of_sequence(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the token that ends a text.

    Raises:
        ModelError: The tokenizer has none.
    """
    if not tokenizer.eos_token:
        raise ModelError(
            "This tokenizer has no end-of-sequence token, so a model trained with it would never "
            "stop. Set eos_token in its tokenizer_config.json."
        )
    return str(tokenizer.eos_token)
