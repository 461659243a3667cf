"""The micro model's tokenizer: one token per word, with a chat template.

Knows nothing of the model's weights.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from fedsafe.micro import grammar, meta, words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS, UNKNOWN = "<pad>", "<bos>", "<eos>", "<unk>"
SYSTEM, USER, ASSISTANT = "<system>", "<user>", "<assistant>"
SPECIAL: Final = (PAD, BOS, EOS, UNKNOWN, SYSTEM, USER, ASSISTANT)
CONTEXT: Final = 192

ECHO: Final = "say these words :"
"""Asks the base to repeat any words."""

CHAT_TEMPLATE: Final = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ ' <' + message['role'] + '> ' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ ' ' + eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ ' <assistant> ' }}{% endif %}"
)


@cache
def vocabulary() -> dict[str, int]:
    """Number the special tokens, then every word of the world."""
    listed = words.vocabulary(*grammar.sentences(), *meta.sentences(), ECHO)
    return {token: place for place, token in enumerate((*SPECIAL, *listed))}


def new_tokenizer() -> "PreTrainedTokenizerFast":
    """Make the tokenizer from the world's vocabulary."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel(vocabulary(), unk_token=UNKNOWN))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def chat_ids(
    prompt: str, system: str = "", history: Sequence[tuple[str, str]] = (), opening: str = ""
) -> list[int]:
    """Return the token ids of a chat up to where the assistant's reply goes on.

    Equal to what the chat template and the tokenizer give, many times faster.

    Args:
        prompt: What is asked last.
        system: System prompt, if not empty.
        history: Earlier prompts and replies.
        opening: What the reply already begins with.
    """
    known = vocabulary()
    said = [BOS, *([SYSTEM, *system.split()] if system else [])]
    for asked, reply in history:
        said += [USER, *asked.split(), ASSISTANT, *reply.split(), EOS]
    said += [USER, *prompt.split(), ASSISTANT, *opening.split()]
    return [known[word] for word in said]
