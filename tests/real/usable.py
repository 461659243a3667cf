"""Count the usable self-written requests of a model: ``python -m tests.real.usable --model DIR``.

Asks the model, with the words of a policy, for restricted and for ordinary requests, and prints
how many of 100 texts are requests of the right topic, and why the others are not: by the rules,
and for restricted ones by the model's own judgement, the margin of the log-probabilities of yes
and no.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fedsafe.contracts import Sample
from fedsafe.experiment.schema import Adapter, Experiment
from fedsafe.models import adapters
from fedsafe.models.adapter_settings import spec_of
from fedsafe.policies.document import Policy, read_policy
from fedsafe.request_rules import cleaned, is_about, problem
from fedsafe.training.likelihood import of_responses
from fedsafe.training.session import Session, open_session


def session(model: Path, adapter: Path | None, threads: int) -> Session:
    """Load a model with its adapter, if one is given."""
    spec = Adapter() if adapter is None else spec_of(adapter)
    settings = {"path": str(model), "threads": threads}
    shape = {"max_length": 256}, {"max_new_tokens": 40, "batch_size": 50}
    experiment = Experiment.model_validate(
        {"model": settings, "data": shape[0], "evaluation": shape[1]}
    ).model_copy(update={"adapter": spec})
    found = open_session(experiment)
    found.put(found.start(0) if adapter is None else adapters.load(adapter))
    return found


def restricted(model: Session, policy: Policy, draws: int) -> list[tuple[str, str, float]]:
    """Return each drawn text, why it is no restricted request, and the model's margin for yes."""
    writing = policy.writing
    drawn = model.write(
        [Sample(writing.ask_restricted, "", system=policy.system)] * draws,
        temperature=1.0,
        rng=random.Random(0),
    )
    texts = [cleaned(text) for text in drawn]
    asked = [writing.belongs.replace("{request}", text) for text in texts]
    said = of_responses(model, [Sample(ask, word) for ask in asked for word in ("Yes", "No")])
    margins = [yes - no for yes, no in zip(said[::2], said[1::2], strict=True)]
    return [(t, problem(t, writing.words), m) for t, m in zip(texts, margins, strict=True)]


def ordinary(model: Session, policy: Policy, draws: int) -> list[tuple[str, str]]:
    """Return each drawn text, and why it is no ordinary request."""
    ask = Sample(policy.writing.ask_ordinary, "", system=policy.system)
    drawn = model.write([ask] * draws, temperature=1.0, rng=random.Random(1))
    found = []
    for text in map(cleaned, drawn):
        reason = problem(text)
        found.append((text, reason or ("restricted" * is_about(text, policy.writing.words))))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--policy", default="cooking")
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args(arguments)
    model, policy = session(asked.model, asked.adapter, asked.threads), read_policy(asked.policy)
    written = restricted(model, policy, asked.draws)
    helped = ordinary(model, policy, asked.draws)
    for name, reasons in (
        ("restricted", [r for _, r, _ in written]),
        ("ordinary", [r for _, r in helped]),
    ):
        counted = Counter(reason or "usable" for reason in reasons)
        print(f"{name}: " + ", ".join(f"{n} {why}" for why, n in counted.most_common()), flush=True)
    agree = sum((margin > 0) == (not reason) for _, reason, margin in written)
    yes = sum(margin > 0 for *_, margin in written)
    print(f"yes by the model's own judgement: {yes} of {len(written)}; as the rules: {agree}")
    for text, reason, margin in written[:30]:
        print(f"  {margin:+6.2f}  {reason or 'usable':18}  {text[:100]}")
    for text, reason in helped[:15]:
        print(f"          {reason or 'usable':18}  {text[:100]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
