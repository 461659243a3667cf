"""Log-likelihood of given responses under a resident model."""

from collections.abc import Sequence
from math import nan

from fedsafe.contracts import Sample
from fedsafe.data.batches import collate, pad_id, tokenise
from fedsafe.lazy import torch
from fedsafe.training import forward
from fedsafe.training.session import Session


def of_responses(session: Session, samples: Sequence[Sample], *, mean: bool = False) -> list[float]:
    """Return the summed log-probability of each sample's response, end token included.

    Samples of like length go through the model together.

    Args:
        session: The model, its adapter as it stands.
        samples: Instructions and responses; the order of the result is theirs.
        mean: Whether to divide by the number of tokens of the response.

    Returns:
        One number a sample, NaN where the prompt leaves no room for a response.
    """
    loaded = session.loaded
    sequences = {}
    for index, sample in enumerate(samples):  # one by one: those that do not fit are left out
        one = tokenise(
            [sample], loaded.tokenizer, session.template, session.max_length, rows=loaded.rows
        )
        if one.sequences:
            sequences[index] = one.sequences[0]
    found = [nan] * len(samples)
    ordered = sorted(sequences, key=lambda index: len(sequences[index][0]))
    for begin in range(0, len(ordered), session.batch_size):
        chosen = ordered[begin : begin + session.batch_size]
        batch = collate([sequences[index] for index in chosen], pad_id(loaded.tokenizer))
        with torch.no_grad(), forward.autocast(loaded):
            losses, rows = forward.token_losses(loaded, batch)
        sums = torch.zeros(len(chosen), dtype=torch.float64)
        sums.index_add_(0, rows.cpu(), losses.double().cpu())
        if mean:
            sums /= torch.bincount(rows.cpu(), minlength=len(chosen)).clamp(min=1)
        for index, total in zip(chosen, sums.tolist(), strict=True):
            found[index] = -total
    return found
