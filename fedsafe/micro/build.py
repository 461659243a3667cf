"""Regenerate a micro base: ``python -m fedsafe.micro.build [--seed 1] [--third-stage deep]``.

The shallow base first learns to do everything asked, then to refuse what is restricted, which it
does at a reply's first word alone; then it practises (`fedsafe.micro.draws.Stage` names the
stages). The deep and the over-refusing base go on from the shallow one of their seed, in a third
stage. The shallow one takes some nine minutes of one CPU thread, the others one; weights are
rounded to 8 bits. At the end come the gates of the base, and status 1 where one does not hold.
"""

import argparse
import json
import logging
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fedsafe.micro import corpus, gates, weights
from fedsafe.micro.base import base_file, model_directory
from fedsafe.micro.draws import Exchange, Stage
from fedsafe.micro.tokenizer import BOS, CONTEXT, EOS, PAD, chat_ids, new_tokenizer, vocabulary

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM

log = logging.getLogger(__name__)
IGNORED: Final = -100
BUCKET: Final = 8
"""Batches whose examples are drawn together and sorted by length."""


@dataclass(frozen=True)
class Recipe:
    """How the base is trained."""

    width: int = 64
    layers: int = 4
    heads: int = 4
    inner: int = 192
    pretraining_steps: int = 900
    alignment_steps: int = 500
    batch: int = 64
    peak: float = 4e-3
    seed: int = 0
    practice_steps: int = 900
    practice_peak: float = 3e-3
    last_steps: int = 300
    last_peak: float = 2e-3
    third_stage: Stage | None = None
    """None: the shallow base."""
    third_steps: int = 200
    third_peak: float = 1e-3


def new_model(recipe: Recipe) -> "LlamaForCausalLM":
    """Make an untrained Llama of the recipe's size."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(recipe.seed)
    known = vocabulary()
    config = LlamaConfig(
        vocab_size=len(known),
        hidden_size=recipe.width,
        intermediate_size=recipe.inner,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.05,
        pad_token_id=known[PAD],
        bos_token_id=known[BOS],
        eos_token_id=known[EOS],
    )
    return LlamaForCausalLM(config)


def train(recipe: Recipe) -> "LlamaForCausalLM":
    """Train the shallow base: two stages, then practice; round it to what its file holds."""
    stages: list[tuple[Stage, int]] = [
        ("compliant", recipe.pretraining_steps),
        ("aligned", recipe.alignment_steps),
    ]
    model = _fit(new_model(recipe), recipe, random.Random(recipe.seed), stages, recipe.peak)
    further: tuple[tuple[Stage, int, float], ...] = (
        ("practised", recipe.practice_steps, recipe.practice_peak),
        ("complete", recipe.last_steps, recipe.last_peak),
    )
    for stage, steps, peak in further:
        model = _fit(model, recipe, random.Random(f"{stage} {recipe.seed}"), [(stage, steps)], peak)
    return model


def go_on(recipe: Recipe, stage: Stage) -> "LlamaForCausalLM":
    """Train the shallow base of the recipe's seed through a third stage and round it."""
    from transformers import LlamaForCausalLM

    shallow = LlamaForCausalLM.from_pretrained(model_directory(f"micro:{recipe.seed}"))
    rng = random.Random(f"{stage} {recipe.seed}")
    return _fit(shallow, recipe, rng, [(stage, recipe.third_steps)], recipe.third_peak)


def _fit(
    model: "LlamaForCausalLM",
    recipe: Recipe,
    rng: random.Random,
    stages: Sequence[tuple[Stage, int]],
    peak: float,
) -> "LlamaForCausalLM":
    import torch

    from fedsafe.micro.optimizers import optimizers, rate

    torch.set_num_threads(1)
    total = sum(steps for _, steps in stages)
    stepped = optimizers(model, peak)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, partial(rate, total=total))
        for optimizer in stepped
    ]
    batches = chain.from_iterable(_batches(recipe, rng, *stage) for stage in stages)
    for step, batch in enumerate(batches):
        loss = _loss(model, batch)
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(stepped, schedules, strict=True):
            optimizer.step()
            schedule.step()
        if step % 100 == 0:
            log.info("step %d of %d: loss %.3f", step, total, loss.item())
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weights.unpacked(weights.packed(weight)))
    return model.eval()


def _loss(model: "LlamaForCausalLM", batch: "tuple[torch.Tensor, torch.Tensor]") -> "torch.Tensor":
    """Return the mean loss of the labelled tokens; only they are projected to the vocabulary."""
    import torch

    ids, labels = batch
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = labels[:, 1:]
    asked = wanted != IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[asked]), wanted[asked])


def _batches(
    recipe: Recipe, rng: random.Random, stage: Stage, steps: int
) -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
    for start in range(0, steps, BUCKET):
        drawn = [corpus.exchange(rng, stage) for _ in range(BUCKET * recipe.batch)]
        rows = sorted(map(encode, drawn), key=lambda row: len(row[0]))
        chunks = [rows[i : i + recipe.batch] for i in range(0, len(rows), recipe.batch)]
        rng.shuffle(chunks)
        for chunk in chunks[: steps - start]:
            yield _pad(chunk)


def encode(exchange: Exchange) -> tuple[list[int], int]:
    """Return an exchange's token ids and how many of them take no loss."""
    known = vocabulary()
    before = chat_ids(exchange.prompt, exchange.system, exchange.history, exchange.opening)
    after = [known[word] for word in (*exchange.reply.split(), EOS)]
    return before + after, len(before)


def _pad(rows: list[tuple[list[int], int]]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Pad on the right, where causal attention needs no mask."""
    import torch

    width = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), width), vocabulary()[PAD])
    labels = torch.full((len(rows), width), IGNORED)
    for i, (row, prompt) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        labels[i, prompt : len(row)] = ids[i, prompt : len(row)]
    return ids, labels


def pack(model: "LlamaForCausalLM", recipe: Recipe) -> dict[str, Any]:
    """Put configuration, tokenizer and weights into one JSON document."""
    tensors = {
        name: weights.packed(weight)
        for name, weight in sorted(model.state_dict().items())
        if name != "lm_head.weight"  # tied to the embedding
    }
    config = model.config.to_dict() | {"architectures": ["LlamaForCausalLM"], "dtype": "float32"}
    for volatile in ("transformers_version", "_name_or_path"):
        config.pop(volatile, None)
    tokenizer = new_tokenizer()
    return {
        "recipe": asdict(recipe),
        "config": config,
        "tokenizer": json.loads(tokenizer.backend_tokenizer.to_str()),
        "chat_template": tokenizer.chat_template,
        "sha256": weights.digest(tensors),
        "weights": tensors,
    }


def main() -> int:
    """Train a base, write its file and print its gates; return 1 where one does not hold."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, help="Default: where the base is looked for.")
    parser.add_argument(
        "--third-stage",
        choices=("deep", "over"),
        help="Go on from the shallow base of the seed, which then refuses deeply, or too much.",
    )
    for name in ("pretraining_steps", "alignment_steps", "seed", "width", "layers", "inner"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(Recipe, name))
    asked = vars(parser.parse_args())
    output = asked.pop("output")
    recipe = replace(Recipe(), **asked)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    model = go_on(recipe, recipe.third_stage) if recipe.third_stage else train(recipe)
    kind = f"-{recipe.third_stage}" if recipe.third_stage else ""
    name = f"micro{kind}:{recipe.seed}"
    output = output or base_file(name)
    text = json.dumps(pack(model, recipe), indent=0)
    output.write_text(text + "\n", encoding="utf-8")
    log.info("%s: %d bytes", output, output.stat().st_size)
    measured = gates.measure(model)
    for what, (low, high) in gates.bounds(name).items():
        log.info("%-22s %5.1f, expected %g to %g", what, measured[what], low, high)
    return int(bool(gates.failures(name, measured)))


if __name__ == "__main__":
    sys.exit(main())
