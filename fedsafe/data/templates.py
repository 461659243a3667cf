"""Prompt templates: a sample as the text of a conversation, with the loss weight of each part.

Knows nothing of token ids; `fedsafe.data.tokens` turns text into them.
"""

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from fedsafe.contracts import Rendered, Sample, Turn, templates
from fedsafe.data.chat_template import Conversation, around, end_of_sequence, takes_system
from fedsafe.data.loss_parts import parts_of
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


@templates("alpaca")
def alpaca(
    tokenizer: "PreTrainedTokenizerBase", example: Sample, /, *, system: System = ""
) -> Rendered:
    """Write the Alpaca format: preamble, instruction, input if any, response.

    The response follows its header after one space and ends in the end-of-sequence
    token. A system prompt takes the preamble's place, a sample's own before the
    setting's. Earlier turns come first, each under headers of its own.

    Raises:
        ModelError: The tokenizer has no end-of-sequence token.
    """
    end = end_of_sequence(tokenizer)
    preamble = example.system or system
    preamble = preamble or (PREAMBLE_WITH_INPUT if example.input else PREAMBLE)
    prompt, spans = preamble, []
    for turn in example.history:
        prompt += f"\n\n### Instruction:\n{turn.instruction}\n\n### Response:"
        reply = f" {turn.response}{end}"
        spans.append((len(prompt), len(prompt) + len(reply)))
        prompt += reply
    given = f"\n\n### Input:\n{example.input}" if example.input else ""
    prompt += f"\n\n### Instruction:\n{example.instruction}{given}\n\n### Response:"
    response = f" {example.response}{end}"
    return Rendered(prompt, response, parts_of(prompt, response, spans, example))


@templates("chat")
def chat(
    tokenizer: "PreTrainedTokenizerBase", example: Sample, /, *, system: System = ""
) -> Rendered:
    """Write the conversation that the tokenizer's own chat template describes.

    An input follows the instruction after a blank line. The response is what the
    template adds to the generation prompt, up to the token that ends the turn. A sample's
    system prompt replaces the setting's; a template that has no system turn gets it in
    front of the first instruction, after which comes a blank line.

    Raises:
        ModelError: There is no chat template, or its conversation does not begin with
            its generation prompt, or it takes no system prompt.
    """
    asked = "\n\n".join(part for part in (example.instruction, example.input) if part)
    history = example.history
    if example.system and example.system != system:
        if takes_system(tokenizer):
            system = example.system
        elif history:
            first = Turn(f"{example.system}\n\n{history[0].instruction}", history[0].response)
            history = (first, *history[1:])
        else:
            asked = f"{example.system}\n\n{asked}"
    talk = Conversation(tokenizer, system, history)
    prompt = talk.generation_prompt(asked)
    before, after = around(tokenizer, system)
    if example.response:
        body = talk.body(asked, example.response)
        if not body.endswith(after[0]):
            raise ModelError(
                "The chat template of this tokenizer ends replies in different ways, so the end "
                "of this one cannot be told. Use the template 'alpaca'."
            )
        response = body.removesuffix(after[0]) + after[1]
    else:
        response = before + after[1]
    spans = talk.spans(prompt, asked, after[1]) if history else ()
    return Rendered(prompt, response, parts_of(prompt, response, spans, example))
