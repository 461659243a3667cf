"""What a model can take: token ids that have an embedding, positions, a tokenizer that fits.

Checked once, when a model is loaded, so that a step does not fail on an index.
"""

from pathlib import Path
from typing import Any

from fedsafe.errors import ModelError
from fedsafe.lazy import torch

POSITIONS = ("n_positions", "max_position_embeddings", "n_ctx", "max_seq_len")
"""Names that configurations have for the number of positions."""


Positions = tuple[int, str]
"""Number of positions, and the name of the setting."""


def limits_of(base: Any, tokenizer: Any, directory: Path) -> tuple[int, Positions | None]:
    """Return a model's embedding rows and positions, its tokenizer checked against the rows.

    Raises:
        ModelError: The tokenizer does not fit.
    """
    rows = rows_of(base)
    check_tokenizer(tokenizer, rows, directory)
    return rows, positions_of(base)


def rows_of(base: Any) -> int:
    """Return the rows of a model's input embedding: token ids from there on have none."""
    return int(base.get_input_embeddings().weight.shape[0])


def positions_of(base: Any) -> Positions | None:
    """Return how many positions a model has, and its setting's name; None: any number.

    Only tables of positions end; rotary and relative ones are computed for any length.
    """
    config = base.config.get_text_config(decoder=True)
    named = [*base.named_modules(), *base.named_buffers()]
    tables = [(name, found) for name, found in named if _is_table(name, found)]
    name = next((name for name in POSITIONS if getattr(config, name, None)), "")
    if not tables or not name:
        return None
    padding = max((getattr(table, "padding_idx", None) or -1) for _, table in tables)
    return int(getattr(config, name)) - (padding + 1 if padding >= 0 else 0), name


def check_tokenizer(tokenizer: Any, rows: int, directory: Path) -> None:
    """Check that a model has an embedding for every id that its tokenizer gives.

    Padding is masked, so a pad token without one is put aside, and another id used; so is
    a token for the unknown. Other added tokens may be without as long as no text holds them.

    Raises:
        ModelError: A regular token, or one that begins or ends texts, has none.
    """
    regular = max(
        (n for n in tokenizer.get_vocab().values() if not _added(tokenizer, n)), default=0
    )
    names = ("bos_token", "eos_token")
    ids = {name: getattr(tokenizer, f"{name}_id") for name in names}
    outside = [
        f"{n} {getattr(tokenizer, n)!r} (id {i})" for n, i in ids.items() if (i or 0) >= rows
    ]
    if regular >= rows:
        outside.insert(0, f"{tokenizer.convert_ids_to_tokens(regular)!r} (id {regular})")
    if outside:
        raise ModelError(
            f"The tokenizer in {directory} has {len(tokenizer)} ids, the model's embedding {rows} "
            f"rows: there is none for {outside[0]}. Use the tokenizer that the model was trained "
            "with, or resize the embedding (resize_token_embeddings) and save the model."
        )
    for name in ("pad_token", "unk_token"):
        if (getattr(tokenizer, f"{name}_id") or 0) >= rows:
            setattr(tokenizer, name, None)


def _added(tokenizer: Any, number: int) -> bool:
    return number in tokenizer.added_tokens_decoder


def _is_table(name: str, found: Any) -> bool:
    """Tell whether a module or buffer holds a vector for each position."""
    last = name.rpartition(".")[2]
    if last != "wpe" and not ("position" in last and "embed" in last):
        return False
    if isinstance(found, torch.nn.Module):
        return isinstance(found, torch.nn.Embedding)
    return isinstance(found, torch.Tensor) and found.ndim == 2
