"""How an example becomes text: what the model is given, and what it is to answer.

Knows nothing of token ids; `fedsafe.data.batches` turns text into them.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from fedsafe.contracts import Example, Rendered, templates
from fedsafe.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

System = Annotated[str, Field(description="System prompt; empty means none.")]

PREAMBLE: Final = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)
PREAMBLE_WITH_INPUT: Final = (
    "Below is an instruction that describes a task, paired with an input that provides "
    "further context. Write a response that appropriately completes the request."
)
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


@templates("alpaca")
def alpaca(
    tokenizer: "PreTrainedTokenizerBase", example: Example, /, *, system: System = ""
) -> Rendered:
    """Write the Alpaca format: preamble, instruction, input if any, response.

    The response follows its header after one space and ends in the end-of-sequence
    token. A system prompt takes the preamble's place.

    Raises:
        ModelError: The tokenizer has no end-of-sequence token.
    """
    preamble = system or (PREAMBLE_WITH_INPUT if example.input else PREAMBLE)
    given = f"\n\n### Input:\n{example.input}" if example.input else ""
    prompt = f"{preamble}\n\n### Instruction:\n{example.instruction}{given}\n\n### Response:"
    return Rendered(prompt, f" {example.response}{_end_of_sequence(tokenizer)}")


@templates("chat")
def chat(
    tokenizer: "PreTrainedTokenizerBase", example: Example, /, *, system: System = ""
) -> Rendered:
    """Write the conversation that the tokenizer's own chat template describes.

    An input follows the instruction after a blank line. The response is what the
    template adds to the generation prompt, up to the token that ends the turn.

    Raises:
        ModelError: There is no chat template, or its conversation does not begin with
            its generation prompt, or it takes no system prompt.
    """
    asked = "\n\n".join(part for part in (example.instruction, example.input) if part)
    prompt = _generation_prompt(tokenizer, system, asked)
    before, after = _around(tokenizer, system)
    if not example.response:
        return Rendered(prompt, before + after[1])
    body = _body(tokenizer, system, asked, example.response)
    if not body.endswith(after[0]):
        raise ModelError(
            "The chat template of this tokenizer ends replies in different ways, so the end of "
            "this one cannot be told. Use the template 'alpaca'."
        )
    return Rendered(prompt, body.removesuffix(after[0]) + after[1])


@lru_cache(maxsize=16)
def _around(tokenizer: "PreTrainedTokenizerBase", system: str) -> tuple[str, tuple[str, str]]:
    """Return the text before a reply, and after it: as written, and up to the stop token."""
    body = _body(tokenizer, system, "question", PROBE)
    before, found, after = body.partition(PROBE)
    if not found:
        raise ModelError(
            "The chat template of this tokenizer leaves replies out of the conversation. "
            "Use the template 'alpaca'."
        )
    ends = [after.find(token) + len(token) for token in _special(tokenizer) if token in after]
    return before, (after, after[: min(ends)] if ends else after + _end_of_sequence(tokenizer))


def _body(tokenizer: "PreTrainedTokenizerBase", system: str, asked: str, reply: str) -> str:
    """Return what the whole conversation adds to the generation prompt."""
    prompt = _generation_prompt(tokenizer, system, asked)
    whole = _conversation(tokenizer, system, asked, reply)
    if not whole.startswith(prompt):
        raise ModelError(
            "The chat template of this tokenizer does not begin a conversation with its "
            f"generation prompt, which ends in {prompt[-40:]!r}. Use the template 'alpaca'."
        )
    return whole.removeprefix(prompt)


def _generation_prompt(tokenizer: "PreTrainedTokenizerBase", system: str, asked: str) -> str:
    """Return the text that asks for a reply, less any whitespace that no conversation has."""
    prompt = _conversation(tokenizer, system, asked)
    if _strips(tokenizer, system):
        return prompt.rstrip()
    return prompt


@lru_cache(maxsize=16)
def _strips(tokenizer: "PreTrainedTokenizerBase", system: str) -> bool:
    """Tell whether only trailing whitespace keeps the generation prompt from being a prefix."""
    prompt = _conversation(tokenizer, system, "question")
    if system and system.strip() not in prompt:
        raise ModelError(
            "The chat template of this tokenizer leaves the system prompt out. "
            "Leave data.template.system empty, or put it into the instructions."
        )
    whole = _conversation(tokenizer, system, "question", PROBE)
    return not whole.startswith(prompt) and whole.startswith(prompt.rstrip())


def _conversation(
    tokenizer: "PreTrainedTokenizerBase", system: str, asked: str, reply: str | None = None
) -> str:
    """Render a conversation; without a reply it ends in the generation prompt."""
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise ModelError(
            "This tokenizer has no chat template. Use the template 'alpaca', or a model that is "
            "tuned for chat."
        )
    messages = [{"role": "system", "content": system}] if system else []
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


def _end_of_sequence(tokenizer: "PreTrainedTokenizerBase") -> str:
    if not tokenizer.eos_token:
        raise ModelError(
            "This tokenizer has no end-of-sequence token, so a model trained with it would never "
            "stop. Set eos_token in its tokenizer_config.json."
        )
    return str(tokenizer.eos_token)
