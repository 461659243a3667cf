"""Small tokenizers in the styles of four families, with chat templates of their shape."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SHARED = Path(__file__).parents[5] / "shared" / "data"
CORPUS = [
    "Below is an instruction that describes a task. Write a response to the request.",
    "How do I paint a fence in the rain? First clean it, then paint it twice and wait.",
    "Sure: here is a list of three fruits, apple, pear and plum. I cannot help with that.",
    "Instruction: Input: Response: system user assistant You are a helpful assistant.",
]
PLAIN_TURNS = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] | trim + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}"
    "{% else %}{{ raise_exception('no system turns') }}{% endif %}{% endfor %}"
)
CONTROL_TURNS = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + '[/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}"
    "{% else %}{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}"
)
HEADERS = (
    "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{{ bos_token }}{{ '<|start_header_id|>system<|end_header_id|>\n\nToday: ' + date_string"
    " + '<|eot_id|>' }}"
    "{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n'"
    " + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
CHATML = (
    "{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content']"
    " + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Style:
    """What a tokenizer of a family is made of."""

    template: str
    special: tuple[str, ...]
    bos: str | None
    eos: str
    stop: str
    pad: str | None = None
    unk: str | None = None
    bytes: bool = True


STYLES = {
    "llama-2": Style(
        PLAIN_TURNS, ("<unk>", "<s>", "</s>"), "<s>", "</s>", "</s>", None, "<unk>", False
    ),
    "mistral": Style(
        CONTROL_TURNS,
        ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"),
        *("<s>", "</s>", "</s>", None, "<unk>", False),
    ),
    "llama-3": Style(
        HEADERS,
        (
            *("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"),
            *("<|start_header_id|>", "<|end_header_id|>"),
        ),
        *("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"),
    ),
    "qwen": Style(
        CHATML,
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        *(None, "<|im_end|>", "<|im_end|>", "<|endoftext|>"),
    ),
}


@cache
def tokenizer(name: str, template: str | None = None) -> Any:
    """Train the small tokenizer of a family; its template may be another."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    style = STYLES[name]
    core = Tokenizer(models.BPE(unk_token=style.unk, fuse_unk=True))
    alphabet: list[str] = []
    if style.bytes:
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:  # sentence-piece: a space before all text, spaces as marks
        core.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        core.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        alphabet = [chr(code) for code in range(32, 127)] + ["\n", "▁"]
    trainer = BpeTrainer(
        vocab_size=600,
        special_tokens=list(style.special),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    if not style.bytes:  # no token spans words
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    core.train_from_iterator(CORPUS, trainer)
    if not style.bytes:
        core.pre_tokenizer = None
    core.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in style.special])
    if style.bos:
        core.post_processor = TemplateProcessing(
            single=f"{style.bos} $A", special_tokens=[(style.bos, core.token_to_id(style.bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=style.bos,
        eos_token=style.eos,
        pad_token=style.pad,
        unk_token=style.unk,
        chat_template=style.template if template is None else template,
        clean_up_tokenization_spaces=False,
    )
