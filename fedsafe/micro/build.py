"""Regenerate a micro base model: ``python -m fedsafe.micro.build [--seed 1] [--deep]``.

Two stages, as with a real model: it first learns to do everything asked, then to
refuse what is restricted, which it does at a reply's first word alone. The deep base
goes on from the shallow one of its seed: most refusals of its third stage come after the
first words of a compliant answer. The first two stages take some twenty minutes of one CPU
thread, the third a minute; the weights are rounded to bfloat16.
"""

import argparse
import base64
import hashlib
import json
import logging
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fedsafe.micro import corpus
from fedsafe.micro.base import base_file, model_directory
from fedsafe.micro.tokenizer import CONTEXT, new_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

log = logging.getLogger(__name__)
IGNORED: Final = -100
DEEPENING_STEPS: Final = 200
BUCKET: Final = 8
"""Batches whose examples are drawn together and sorted by length."""


@dataclass(frozen=True)
class Recipe:
    """How the base is trained."""

    width: int = 64
    layers: int = 4
    heads: int = 4
    inner: int = 160
    pretraining_steps: int = 2800
    alignment_steps: int = 1200
    batch: int = 64
    peak: float = 4e-3
    warm_up: int = 100
    seed: int = 0
    deepening_steps: int = 0
    """Steps of the third stage; 0: the shallow base."""
    deepening_peak: float = 1e-3


def new_model(recipe: Recipe, tokenizer: "PreTrainedTokenizerFast") -> "LlamaForCausalLM":
    """Make an untrained Llama of the recipe's size."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=recipe.inner,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def train(recipe: Recipe, tokenizer: "PreTrainedTokenizerFast") -> "LlamaForCausalLM":
    """Train the shallow base through both stages and round it to bfloat16."""
    total = recipe.pretraining_steps + recipe.alignment_steps
    batches = _batches(recipe, tokenizer, total, recipe.pretraining_steps)
    return _fit(new_model(recipe, tokenizer), batches, total, recipe.peak, recipe.warm_up)


def deepen(recipe: Recipe, tokenizer: "PreTrainedTokenizerFast") -> "LlamaForCausalLM":
    """Train the shallow base of the recipe's seed through the third stage and round it."""
    from transformers import LlamaForCausalLM

    shallow = LlamaForCausalLM.from_pretrained(model_directory(f"micro:{recipe.seed}"))
    total = recipe.deepening_steps
    batches = _batches(recipe, tokenizer, total, aligned_from=0)
    return _fit(shallow, batches, total, recipe.deepening_peak, total // 10)


def _fit(
    model: "LlamaForCausalLM",
    batches: Iterator[dict[str, "torch.Tensor"]],
    total: int,
    peak: float,
    warm_up: int,
) -> "LlamaForCausalLM":
    import torch

    torch.set_num_threads(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peak, total_steps=total + 1, pct_start=warm_up / total
    )
    for step, batch in enumerate(batches):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            log.info("step %d of %d: loss %.3f", step, total, loss.item())
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.bfloat16().float())
    return model.eval()


def _batches(
    recipe: Recipe, tokenizer: "PreTrainedTokenizerFast", total: int, aligned_from: int
) -> Iterator[dict[str, "torch.Tensor"]]:
    deep = recipe.deepening_steps > 0
    rng = random.Random(f"deep {recipe.seed}" if deep else recipe.seed)
    for start in range(0, total, BUCKET):
        make = partial(corpus.exchange, rng, aligned=start >= aligned_from, deep=deep)
        drawn = [make() for _ in range(BUCKET * recipe.batch)]
        rows = sorted((_encode(tokenizer, e) for e in drawn), key=lambda row: len(row[0]))
        chunks = [rows[i : i + recipe.batch] for i in range(0, len(rows), recipe.batch)]
        rng.shuffle(chunks)
        for chunk in chunks[: total - start]:
            yield _pad(chunk, tokenizer)


def _encode(
    tokenizer: "PreTrainedTokenizerFast", exchange: corpus.Exchange
) -> tuple[list[int], int]:
    chat = [{"role": "user", "content": exchange.prompt}]
    if exchange.system:
        chat.insert(0, {"role": "system", "content": exchange.system})
    opening = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    opening += exchange.opening + " "  # words are tokens, whatever space lies between
    prompt = tokenizer(opening, add_special_tokens=False)["input_ids"]
    reply = tokenizer(exchange.reply, add_special_tokens=False)["input_ids"]
    return [*prompt, *reply, tokenizer.eos_token_id], len(prompt)


def _pad(
    rows: list[tuple[list[int], int]], tokenizer: "PreTrainedTokenizerFast"
) -> dict[str, "torch.Tensor"]:
    import torch

    width = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), width), int(tokenizer.pad_token_id))
    labels = torch.full((len(rows), width), IGNORED)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, (row, prompt) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        labels[i, prompt : len(row)] = ids[i, prompt : len(row)]
        mask[i, : len(row)] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def pack(
    model: "LlamaForCausalLM", tokenizer: "PreTrainedTokenizerFast", recipe: Recipe
) -> dict[str, Any]:
    """Put configuration, tokenizer and weights into one JSON document."""
    import torch

    tensors = {}
    for name, weight in sorted(model.state_dict().items()):
        if name == "lm_head.weight":  # tied to the embedding
            continue
        bits = weight.bfloat16().contiguous().view(torch.uint16).numpy().astype("<u2").tobytes()
        tensors[name] = {"shape": list(weight.shape), "bf16": base64.b64encode(bits).decode()}
    config = model.config.to_dict() | {"architectures": ["LlamaForCausalLM"], "dtype": "float32"}
    for volatile in ("transformers_version", "_name_or_path"):
        config.pop(volatile, None)
    return {
        "recipe": asdict(recipe),
        "config": config,
        "tokenizer": json.loads(tokenizer.backend_tokenizer.to_str()),
        "chat_template": tokenizer.chat_template,
        "sha256": _digest(tensors),
        "weights": tensors,
    }


def _digest(tensors: dict[str, dict[str, Any]]) -> str:
    text = json.dumps(tensors, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    """Train a base and write its file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, help="Default: where the base is looked for.")
    parser.add_argument("--deep", action="store_true", help="Deepen the shallow base of the seed.")
    for name in ("pretraining_steps", "alignment_steps", "seed", "width", "layers", "inner"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(Recipe, name))
    asked = vars(parser.parse_args())
    output, deep = asked.pop("output"), asked.pop("deep")
    recipe = replace(Recipe(), **asked, deepening_steps=DEEPENING_STEPS if deep else 0)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    tokenizer = new_tokenizer()
    document = pack((deepen if deep else train)(recipe, tokenizer), tokenizer, recipe)
    output = output or base_file(f"micro{'-deep' if deep else ''}:{recipe.seed}")
    output.write_text(json.dumps(document, indent=0) + "\n", encoding="utf-8")
    log.info("%s: %d bytes", output, output.stat().st_size)


if __name__ == "__main__":
    main()
