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


def chat_ids(messages: Sequence[tuple[str, str]]) -> list[int]:
    """Return the token ids of (role, text) messages and the assistant's turn after them.

    Equal to what the chat template and the tokenizer give, many times faster.
    """
    known = vocabulary()
    said = [BOS]
    for role, text in messages:
        said += [f"<{role}>", *text.split(), *([EOS] if role == "assistant" else [])]
    return [known[word] for word in (*said, ASSISTANT)]
