"""Samples as a source read them, with what was left out of the data."""

from collections.abc import Iterable, Mapping

from fedsafe.contracts import Sample
from fedsafe.data.columns import Mapped, examples
from fedsafe.data.conversations import LeftOut
from fedsafe.data.reading import Row
from fedsafe.errors import DataError
from fedsafe.seeds import stream


class Loaded(list[Sample]):
    """Samples as they were read, and what was left out of the data."""

    left_out: Mapping[str, int] = {}
    """How often each kind of thing was left out."""


def samples_of(
    rows: Iterable[Row],
    wanted: Mapped,
    seed: int,
    limit: int | None,
    shuffle: bool,
    skip_empty: bool,
) -> Loaded:
    """Return rows as samples.

    Args:
        rows: Where each stands, and its fields.
        wanted: The user's names of the fields.
        seed: Of the drawn order.
        limit: At most so many samples; None: all.
        shuffle: Whether the order is drawn first.
        skip_empty: Whether rows without instruction or response are left out.

    Raises:
        DataError: A field is missing, or is no text, or is empty; or there is no sample.
    """
    left_out = LeftOut()
    asked = None if shuffle else limit
    found = Loaded(examples(rows, wanted, skip_empty=skip_empty, limit=asked, left_out=left_out))
    if not found:
        raise DataError("The data has no examples. Give a file with at least one row of text.")
    if shuffle:
        stream(seed, "source", "order").shuffle(found)
        del found[limit or len(found) :]
    found.left_out = dict(left_out)
    return found
