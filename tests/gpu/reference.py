"""The reference system's way of federated LoRA, written anew as a baseline.

As FedLLM-Attack and OpenFedLLM work (Ye et al., KDD 2024 and ICLR 2025): server and
clients in one process, clients in turn on one model in int8, prepared by PEFT for k-bit
training, gradient checkpointing, no autocast; for every client and round a new trainer
object, the texts tokenized again, a new optimizer, batches padded to their longest; a
copy of the adapter for each client on the device; logits at every position.

``python -m tests.gpu.reference SETTING.json RESULT.json``
"""

import copy
import json
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from tests.gpu.setting import Setting
from tests.gpu.world import read, rendered


class Collator:
    """Pads a batch to its longest example, and counts."""

    def __init__(self, pad: int) -> None:
        self.pad, self.tokens, self.padded = pad, 0, 0

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        import torch

        width = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), width), self.pad)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for number, row in enumerate(rows):
            found = torch.tensor(row["input_ids"])
            ids[number, : len(found)] = found
            mask[number, : len(found)] = 1
            labels[number, row["start"] : len(found)] = found[row["start"] :]
        self.tokens += int(mask.sum())
        self.padded += mask.numel()
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def load(setting: Setting) -> Any:
    """Return the base model with its adapter, as the reference system prepares it."""
    import torch
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    options: dict[str, Any] = {"device_map": {"": setting.device}}
    if setting.reference_quantization == "int8":
        options |= {"quantization_config": BitsAndBytesConfig(load_in_8bit=True),
                    "dtype": torch.bfloat16}  # fmt: skip
    else:
        options["dtype"] = torch.float32 if setting.device == "cpu" else torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(setting.model, **options)
    if setting.reference_quantization == "int8":
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=True)
    else:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    config = LoraConfig(
        r=setting.rank, lora_alpha=setting.alpha, lora_dropout=setting.dropout, bias="none",
        task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"],
    )  # fmt: skip
    model = get_peft_model(model, config)
    model.config.use_cache = False
    return model


def dataset(rows: list[dict[str, str]], tokenizer: Any, longest: int) -> Any:
    """Tokenize a client's texts, as a new trainer object does."""
    from datasets import Dataset

    def tokenise(batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        texts = [rendered(dict(zip(batch, row, strict=True)), tokenizer)
                 for row in zip(*batch.values(), strict=True)]  # fmt: skip
        whole = tokenizer([a + b for a, b in texts], truncation=True, max_length=longest)
        prompts = tokenizer([prompt for prompt, _ in texts])["input_ids"]
        return {"input_ids": whole["input_ids"], "start": [len(ids) for ids in prompts]}

    return Dataset.from_list(rows).map(tokenise, batched=True, remove_columns=list(rows[0]))


def train(model: Any, rows: list[dict[str, str]], tokenizer: Any, setting: Setting,
          collator: Collator, scratch: str) -> float:  # fmt: skip
    """Do one client's work of one round; return its loss."""
    from transformers import PrinterCallback, Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=scratch, per_device_train_batch_size=setting.batch_size,
        learning_rate=5e-5, max_steps=setting.steps, lr_scheduler_type="constant",
        gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": False},
        report_to="none", save_strategy="no", logging_steps=100, disable_tqdm=True,
        remove_unused_columns=False, use_cpu=setting.device == "cpu", dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = Trainer(
        model=model, args=arguments, data_collator=collator, processing_class=tokenizer,
        train_dataset=dataset(rows, tokenizer, setting.longest),
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    return float(trainer.train().training_loss)


def run(setting: Setting) -> dict[str, Any]:
    """Run the federation; return what was measured."""
    import torch
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from transformers import AutoTokenizer

    torch.set_num_threads(1 if setting.device == "cpu" else torch.get_num_threads())
    begun = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(setting.model)
    model = load(setting)
    load_seconds = time.perf_counter() - begun
    shares = [read(setting.data(client)) for client in range(setting.clients)]
    shared = copy.deepcopy(get_peft_model_state_dict(model))
    locals_ = [copy.deepcopy(shared) for _ in shares]
    rounds = []
    for _ in range(setting.rounds):
        collator = Collator(tokenizer.pad_token_id)
        begun, busy = time.perf_counter(), time.process_time()
        for client, rows in enumerate(shares):
            set_peft_model_state_dict(model, shared)
            with tempfile.TemporaryDirectory() as scratch:
                loss = train(model, rows, tokenizer, setting, collator, scratch)
            locals_[client] = copy.deepcopy(get_peft_model_state_dict(model))
        for name in shared:
            shared[name] = sum(local[name] for local in locals_) / len(locals_)
        set_peft_model_state_dict(model, shared)
        rounds.append({"seconds": time.perf_counter() - begun,
                       "cpu_seconds": time.process_time() - busy, "tokens": collator.tokens,
                       "padded": collator.padded, "loss": loss})  # fmt: skip
    cuda = setting.device != "cpu"
    return {
        "load_seconds": load_seconds,
        "rounds": rounds,
        "peak_bytes": torch.cuda.max_memory_allocated() if cuda else 0,
        "bytes_per_round": 0,
    }


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    from datasets.utils.logging import disable_progress_bar
    from transformers.utils import logging as progress

    disable_progress_bar()
    progress.disable_progress_bar()
    Path(sys.argv[2]).write_text(json.dumps(run(Setting.read(sys.argv[1]))))


if __name__ == "__main__":
    main()
