"""A random Llama of any size on disk, and instructions of realistic length; no download.

``python -m tests.gpu.world SETTING.json``
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

from tests.gpu.setting import SIZES, Setting

SHARD = 2**30
"""Bytes of one file of weights, and about what making them takes in memory."""
SYLLABLES = [a + b for a in "bcdfghjklmnprstvwz" for b in ("a", "e", "i", "o", "u", "an", "er")]


def build(setting: Setting) -> None:
    """Make the model and the data of a comparison, where they are not there yet."""
    done = Path(setting.home) / "done.json"
    wanted = {"size": setting.size, "clients": setting.clients, "examples": setting.examples,
              "lengths": [setting.shortest, setting.longest], "seed": setting.seed}  # fmt: skip
    if done.is_file() and json.loads(done.read_text()) == wanted:
        return
    setting.model.mkdir(parents=True, exist_ok=True)
    rng = random.Random(setting.seed)
    words = ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 4))) for _ in range(6000)]
    tokenizer = write_tokenizer(setting, words, rng)
    write_weights(setting, tokenizer)
    write_data(setting, words, tokenizer, rng)
    done.write_text(json.dumps(wanted))


def write_tokenizer(setting: Setting, words: list[str], rng: random.Random) -> Any:
    """Train a byte-level tokenizer on sentences of these words."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    sentences = [" ".join(rng.choices(words, k=12)) for _ in range(4000)]
    plain = ByteLevelBPETokenizer()
    plain.train_from_iterator(
        sentences,
        vocab_size=SIZES[setting.size]["vocabulary"],
        special_tokens=["<s>", "</s>", "<pad>"],
        show_progress=False,
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain._tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.save_pretrained(setting.model)
    return tokenizer


def write_weights(setting: Setting, tokenizer: Any) -> None:
    """Write random bfloat16 weights, a shard at a time; never the whole model in memory."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, LlamaConfig

    size = SIZES[setting.size]
    config = LlamaConfig(
        vocab_size=size["vocabulary"], hidden_size=size["hidden"],
        intermediate_size=size["inner"], num_hidden_layers=size["layers"],
        num_attention_heads=size["heads"], num_key_value_heads=size["kv"],
        max_position_embeddings=2048, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        dtype="bfloat16", architectures=["LlamaForCausalLM"],
    )  # fmt: skip
    config.save_pretrained(setting.model)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    maker = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = torch.Generator(maker).manual_seed(setting.seed)
    places: dict[str, str] = {}
    shard: dict[str, torch.Tensor] = {}
    held = number = 0
    for name, shape in shapes.items():
        tensor = torch.empty(shape, dtype=torch.bfloat16, device=maker)
        if len(shape) == 1:
            tensor.fill_(1.0)  # norms
        else:
            tensor.normal_(0.0, 0.02, generator=generator)
        shard[name] = tensor.cpu()
        held += shard[name].nbytes
        if held >= SHARD or name == list(shapes)[-1]:
            file = f"model-{number:05d}.safetensors"
            save_file(shard, setting.model / file, metadata={"format": "pt"})
            places |= dict.fromkeys(shard, file)
            shard, held, number = {}, 0, number + 1
    index = {"metadata": {}, "weight_map": places}
    (setting.model / "model.safetensors.index.json").write_text(json.dumps(index))


def write_data(setting: Setting, words: list[str], tokenizer: Any, rng: random.Random) -> None:
    """Write each client's instructions; lengths are log-normal, as those of real ones are."""
    frame = len(tokenizer(rendered({"instruction": "", "response": ""}, tokenizer)[0])["input_ids"])
    sample = " ".join(rng.choices(words, k=2000))
    per_word = len(tokenizer(sample)["input_ids"]) / 2000
    everyone = []
    for client in range(setting.clients):
        rows = []
        for _ in range(setting.examples):
            length = min(max(rng.lognormvariate(5.3, 0.6), setting.shortest), setting.longest)
            count = max(4, int((length - frame - 1) / per_word))
            text = rng.choices(words, k=count)
            asked = max(2, int(count * rng.uniform(0.15, 0.4)))
            rows.append({"instruction": " ".join(text[:asked]), "response": " ".join(text[asked:])})
        everyone += rows
        setting.data(client).write_text("".join(json.dumps(row) + "\n" for row in rows))
    setting.data().write_text("".join(json.dumps(row) + "\n" for row in everyone))


def rendered(row: dict[str, str], tokenizer: Any) -> tuple[str, str]:
    """Return prompt and response of an example in the alpaca template, as FedSafe has it."""
    from fedsafe.app import activate
    from fedsafe.contracts import Sample, templates

    activate()
    found = templates["alpaca"].configure({})(
        tokenizer, Sample(row["instruction"], row["response"])
    )
    return found.prompt, found.response


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


if __name__ == "__main__":
    build(Setting.read(sys.argv[1]))
