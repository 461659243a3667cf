"""Tiny language models on disk, of the architectures that users bring."""

from pathlib import Path
from typing import Any

SENTENCES = (
    "List three fruits that are red. Apples, cherries and strawberries are red.",
    "Add the numbers two and five. The sum of two and five is seven.",
    "Write an ordinary request. Sure, here is one: name the capital of a country.",
)
CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_model(directory: Path, kind: str, *, seed: int = 0, hidden: int = 32) -> Path:
    """Save a model of two layers, with a tokenizer trained on sentences."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = make_tokenizer()
    config = _config(kind, len(tokenizer), hidden)
    config.pad_token_id = tokenizer.pad_token_id
    config.bos_token_id = tokenizer.bos_token_id
    config.eos_token_id = tokenizer.eos_token_id
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def make_tokenizer() -> Any:
    """Train a byte-level tokenizer on a few sentences."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<|system|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=special[3:],
        chat_template=CHAT,
    )


def _config(kind: str, vocabulary: int, hidden: int) -> Any:
    from transformers import GPT2Config, LlamaConfig, MistralConfig, Qwen2Config

    if kind == "gpt2":
        return GPT2Config(
            n_embd=hidden,
            n_layer=2,
            n_head=4,
            n_positions=256,
            vocab_size=vocabulary,
            bos_token_id=1,
            eos_token_id=2,
        )
    kinds = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen2": Qwen2Config}
    return kinds[kind](
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        tie_word_embeddings=False,
    )
