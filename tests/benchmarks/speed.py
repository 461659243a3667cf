"""Generation and training beside the plain ways of transformers, on the same prompts, in one run.

    python -m tests.benchmarks.speed                                       # the micro world
    python -m tests.benchmarks.speed --preset policy-quick --model DIR     # a real model

Generation: the replies of one evaluation stage, all conditions, by our own way, by batches of
`generate` (sorted by length, one condition after the other), and one prompt at a time, as the
reference system does. Training: the first client's examples, by our loop and by `Trainer` with
the same PEFT model, batch size and optimizer. "cpu s" is processor time, which other work on the
machine disturbs least; "tokens" are those of the replies, or of the examples without padding.
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from fedsafe import load_experiment
from fedsafe.data.batches import pad_id, reply_start
from fedsafe.data.client_datasets import shares
from fedsafe.evaluation.asking import asks_of
from fedsafe.evaluation.evaluate import prompts_of
from fedsafe.models.generation import Decoding, generate
from fedsafe.models.plain_generation import plain
from fedsafe.training.loop import plan_of
from fedsafe.training.session import Session, open_session

Ids = list[int]


def processor() -> float:
    spent = os.times()
    return spent.user + spent.system


def measured(name: str, work: Callable[[], int], beside: float | None = None) -> float:
    """Print the tokens and times of some work, and return its tokens a processor second."""
    begun, spent = time.perf_counter(), processor()
    tokens = work()
    wall, cpu = time.perf_counter() - begun, processor() - spent
    rate = tokens / max(cpu, 1e-9)
    times = "" if beside is None else f"  ours is {beside / rate:5.1f} times as fast"
    print(
        f"  {name:<28}{tokens:>7} tokens {wall:>7.1f} s {cpu:>7.1f} cpu s "
        f"{rate:>8.1f} tokens/cpu s{times}",
        flush=True,
    )
    return rate


def asked(session: Session, experiment: Any, prompts: int) -> list[list[Ids]]:
    """The token ids of the prompts of one stage, by condition; evenly chosen."""
    every = prompts_of(experiment)
    chosen = [every[i * len(every) // prompts] for i in range(min(prompts, len(every)))]
    tokenizer, template = session.loaded.tokenizer, session.template
    found = []
    for asks in asks_of(experiment.evaluation.conditions, chosen).values():
        free = [ask for ask in asks if not ask.shielded and not ask.answer]
        ids = [reply_start(tokenizer, template, ask.sample, ask.prefill)[0] for ask in free]
        if ids:
            found.append(ids)
    return found


def plainly(session: Session, groups: Sequence[list[Ids]], how: Decoding) -> dict[Any, Ids]:
    """Batches of `generate`, each condition by itself, short prompts first."""
    loaded, found = session.loaded, {}
    base = loaded.model.get_base_model()
    own = base.generation_config
    with torch.inference_mode():
        for group in groups:
            order = sorted(group, key=len)
            for begin in range(0, len(order), how.batch_size):
                some = [tuple(ids) for ids in order[begin : begin + how.batch_size]]
                found |= dict(zip(some, plain(loaded, some, how, how.max_new_tokens), strict=True))
    base.generation_config = own
    return found


def generation(session: Session, experiment: Any, prompts: int, single: int) -> None:
    groups = asked(session, experiment, prompts)
    every = [ids for group in groups for ids in group]
    how = Decoding(
        max_new_tokens=experiment.evaluation.max_new_tokens,
        batch_size=experiment.evaluation.batch_size,
        stop=session.stop,
        pad=pad_id(session.loaded.tokenizer),
    )
    print(f"generation: {len(every)} prompts, batches of {how.batch_size}")
    replies: dict[Any, Ids] = {}

    def ours() -> int:
        found = generate(session.loaded, every, how)
        replies.update(zip(map(tuple, every), found, strict=True))
        return sum(map(len, found))

    other: dict[Any, Ids] = {}

    def batched() -> int:
        other.update(plainly(session, groups, how))
        return sum(len(other[tuple(ids)]) for ids in every)

    def one_by_one() -> int:
        some = random.Random(0).sample(every, min(single, len(every)))
        alone = Decoding(how.max_new_tokens, batch_size=1, stop=how.stop, pad=how.pad)
        return sum(map(len, plainly(session, [some], alone).values()))

    rate = measured("ours", ours)
    measured("generate, batched", batched, rate)
    measured(f"generate, one by one ({single})", one_by_one, rate)
    same = sum(replies[ids] == reply for ids, reply in other.items())
    print(f"  equal replies: {same} of {len(other)}")


def training(session: Session, experiment: Any, steps: int) -> None:
    samples, settings = shares(experiment)[0], experiment.training
    tokenised = session.tokenise(samples)
    start = session.start(0)
    pad, size = pad_id(session.loaded.tokenizer), settings.batch_size
    print(f"training: {steps} steps of {size} examples, {session.loaded.frozen or 'all layers'}")
    plan = plan_of(settings.model_copy(update={"steps": steps}), settings.learning_rate)

    def ours(seed: int) -> Callable[[], int]:
        def work() -> int:
            report, _ = session.train(samples, plan, random.Random(seed), batch_size=size)
            return report.tokens

        return work

    session.put(start)
    rate = measured("ours, first pass", ours(0))
    later = measured("ours, examples met before", ours(0))
    session.put(start)
    work = trainer(session, tokenised.sequences, steps, settings, pad)
    slow = measured("Trainer", work, rate)
    print(f"  beside examples met before, ours is {later / slow:5.1f} times as fast as Trainer")


def trainer(
    session: Session, sequences: Sequence[tuple[Ids, int]], steps: int, settings: Any, pad: int
) -> Callable[[], int]:
    from transformers import Trainer, TrainingArguments

    tokens = 0

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        nonlocal tokens
        width = max(len(row["ids"]) for row in rows)
        tokens += sum(len(row["ids"]) for row in rows)
        ids = torch.tensor([row["ids"] + [pad] * (width - len(row["ids"])) for row in rows])
        at = torch.arange(width)
        ends = torch.tensor([len(row["ids"]) for row in rows])[:, None]
        starts = torch.tensor([row["start"] for row in rows])[:, None]
        labels = torch.where((at >= starts) & (at < ends), ids, -100)
        return {"input_ids": ids, "attention_mask": (at < ends).long(), "labels": labels}

    rows = [{"ids": ids, "start": start} for ids, start in sequences]
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        max_steps=steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant",
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        remove_unused_columns=False,
        use_cpu=session.loaded.device.type == "cpu",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    made = Trainer(session.loaded.model, arguments, data_collator=collate, train_dataset=rows)

    def work() -> int:
        made.train()
        session.loaded.model.eval()
        return tokens

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="micro")
    parser.add_argument("--model", default="")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the experiment")
    parser.add_argument("--prompts", type=int, default=128, help="of the suites")
    parser.add_argument("--single", type=int, default=8, help="prompts asked one by one")
    parser.add_argument("--steps", type=int, default=8)
    given = parser.parse_args()
    changes = [f"model.path={given.model}"] if given.model else []
    experiment = load_experiment(given.preset, changes + given.set)
    session = open_session(experiment)
    print(session.loaded.compute)
    start = session.start(0)
    torch.manual_seed(0)
    drawn = {name: t + 1e-3 * torch.randn_like(t) for name, t in start.items()}
    session.put(drawn)  # an adapter that does something, as after training
    generation(session, experiment, given.prompts, given.single)
    training(session, experiment, given.steps)


if __name__ == "__main__":
    main()
