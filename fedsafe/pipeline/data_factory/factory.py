"""Write a data set with a model, so that an interrupted one goes on to the same bytes.

Each batch has its own random stream and is kept in a journal beside the output; what is kept
is passed through the filters again. The number of pairs is no part of a batch, so that a
larger or smaller data set of the same recipe begins with the same pairs.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fedsafe.contracts import Exchange, Prompt, Sample, Verdict
from fedsafe.data.dedup import overlap
from fedsafe.data.text_signatures import TextSignatures
from fedsafe.errors import RunError
from fedsafe.evaluation.judging import judge, judging_context
from fedsafe.pipeline.data_factory.recipe import ORIGIN, Recipe
from fedsafe.pipeline.data_factory.sieve import Sieve
from fedsafe.runs.checksums import read_sealed, write_sealed
from fedsafe.runs.files import append_line, digest, file_digest, read_lines, write_text
from fedsafe.seeds import stream
from fedsafe.training.session import Session
from fedsafe.version import __version__

BATCH: Final = 64
"""Requests drawn at a time."""
FRUITLESS: Final = 5
"""Batches in a row without a pair, after which the model has no more to say."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Factory:
    """One data set to be written.

    Attributes:
        recipe: What is wanted, and the words for it.
        session: The model, its adapter put into it.
        model: Name of the model, for the card.
        adapter: sha256 of the adapter; empty: none.
        avoid: Signatures of the evaluation's prompts, which no pair repeats.
        compared: Name to samples of other data, such as a defense's, for the card.
    """

    recipe: Recipe
    session: Session
    model: str
    adapter: str = ""
    avoid: TextSignatures | None = None
    compared: Mapping[str, Sequence[Sample]] | None = None

    def write(self, count: int, output: Path, tell: Tell = lambda _: None) -> dict[str, Any]:
        """Write a data set and its card, or return the card of what is there already.

        Args:
            count: Pairs.
            output: The JSONL file; the card is ``OUTPUT.card.json``.
            tell: Called with a sentence on progress.

        Raises:
            RunError: Another file is there, or the model has no more pairs to write.
        """
        card, key = card_of(output), self._key()
        if output.exists():
            return self._finished(output, card, key, count)
        journal = output.with_name(f".{output.name}.journal")
        sieve = Sieve(self.recipe, self.avoid)
        kept = self._batches(journal, key)
        number, fruitless = 0, 0
        while len(sieve.kept) < count:
            before = len(sieve.kept)
            row = kept[number] if number < len(kept) else None
            made = self._batch(number, sieve, row)
            if row is None:
                append_line(journal, made)
            number += 1
            fruitless = 0 if len(sieve.kept) > before else fruitless + 1
            tell(f"{min(len(sieve.kept), count)} of {count} pairs after {sieve.drawn} requests")
            if fruitless == FRUITLESS:
                raise RunError(_exhausted(sieve, count))
        pairs = sieve.kept[:count]
        text = "".join(json.dumps(_row(pair), ensure_ascii=False) + "\n" for pair in pairs)
        write_sealed(card, self._card(pairs, sieve, key, hashlib.sha256(text.encode()).hexdigest()))
        write_text(output, text)  # last: with it the data set is finished
        journal.unlink(missing_ok=True)
        return read_sealed(card)

    def _batch(self, number: int, sieve: Sieve, kept: dict[str, Any] | None) -> dict[str, Any]:
        """Pass one batch through the filters: the kept one, or one that the model writes now."""
        context = judging_context(self.session)
        if kept is not None:
            requests = sieve.requests(kept["drawn"])
            verdicts = [Verdict(**verdict) for verdict in kept["verdicts"]]
            sieve.pairs(requests, kept["replies"], verdicts)
            return kept
        rng = stream(self.recipe.seed, "generate", self.recipe.kind, number)
        drawn = context.write(
            [self.recipe.ask] * BATCH, temperature=self.recipe.temperature, rng=rng
        )
        requests = sieve.requests(drawn)
        replies = context.write([self.recipe.frame.replace("{request}", one) for one in requests])
        exchanges = [
            Exchange(Prompt(str(place), request, "harmful" if self._unsafe else "utility"), reply)
            for place, (request, reply) in enumerate(zip(requests, replies, strict=True))
        ]
        judged = judge(self.recipe.judge, exchanges, context) if exchanges else []
        sieve.pairs(requests, replies, judged)
        told = [{"outcome": one.outcome, "safe": one.safe} for one in judged]
        return {"drawn": drawn, "replies": replies, "verdicts": told}

    @property
    def _unsafe(self) -> bool:
        return self.recipe.kind != "helpful"

    def _key(self) -> str:
        """Return the sha256 of all that the pairs depend on, but for their number."""
        asked = self.avoid.dumps() if self.avoid else ""
        settings = json.dumps(self.recipe.settings(), sort_keys=True)
        return digest(__version__, BATCH, self.session.fingerprint, self.adapter, settings, asked)

    def _batches(self, journal: Path, key: str) -> list[dict[str, Any]]:
        """Return the batches that an interrupted run left.

        Raises:
            RunError: They are of other settings.
        """
        rows = read_lines(journal)
        if not rows:
            append_line(journal, {"key": key})
            return []
        if rows[0].get("key") != key:
            raise RunError(
                f"{journal} holds the beginning of a data set with other settings, or of another "
                "model. Give the same command as before to go on with it, or remove the file."
            )
        return rows[1:]

    def _finished(self, output: Path, card: Path, key: str, count: int) -> dict[str, Any]:
        found = read_sealed(card) if card.is_file() else {}
        if found.get("key") == key and found.get("rows") == count:
            if found.get("file_sha256") == file_digest(output):
                return found
            raise RunError(f"{output} was changed since it was written. Move it away.")
        raise RunError(f"{output} is there already, and is another data set. Name another file.")

    def _card(
        self, pairs: Sequence[Sample], sieve: Sieve, key: str, written: str
    ) -> dict[str, Any]:
        removed = {
            kind: sieve.dropped[f"repeats an evaluation prompt ({kind})"]
            for kind in ("exact", "near")
        }
        return {
            "made_by": f"fedsafe generate {self.recipe.kind}",
            "version": __version__,
            "model": self.model,
            "fingerprint": self.session.fingerprint,
            "adapter": self.adapter,
            "settings": self.recipe.settings(),
            "key": key,
            "rows": len(pairs),
            "file_sha256": written,
            "drawn": sieve.drawn,
            "kept": len(sieve.kept),
            "dropped": {k: n for k, n in sorted(sieve.dropped.items()) if n},
            "overlap": {
                "evaluation": {"removed": removed} if self.avoid else "not compared",
                **{name: _shared(pairs, other) for name, other in (self.compared or {}).items()},
            },
        }


def card_of(output: Path) -> Path:
    """Return where the card of a data set lies."""
    return output.with_name(f"{output.name}.card.json")


def _row(pair: Sample) -> dict[str, str]:
    return {"instruction": pair.instruction, "response": pair.response, "origin": pair.origin}


def _shared(pairs: Sequence[Sample], others: Sequence[Sample]) -> dict[str, int]:
    """Count the requests that are in other data as well, which stay."""
    found = overlap(
        [pair.instruction for pair in pairs],
        [f"{other.instruction} {other.input}" for other in others],
    )
    return {"compared_with": len(others), "exact": found.exact, "near": found.near}


def _exhausted(sieve: Sieve, count: int) -> str:
    reasons = ", ".join(f"{number} {why}" for why, number in sieve.dropped.most_common() if number)
    return (
        f"The model wrote no new {ORIGIN[sieve.recipe.kind]} pair in {FRUITLESS * BATCH} requests, "
        f"after {len(sieve.kept)} of {count} (left out: {reasons}). What is done is kept: lower -n "
        "to that number, or begin anew with another --temperature, --ask, --frame or --judge."
    )
