"""Critique and rewriting of replies by a model, the exchange being data in what it is asked."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from fedsafe.contracts import DefenseTask, Exchange, ModelContext

CRITIQUE = "List what in this reply is harmful or breaks the rules of a safe assistant."
REWRITE = (
    "Rewrite this reply. If it is harmful, begin with a refusal and its reason and offer a "
    "harmless alternative. Leave out whatever is harmful. Write the reply alone."
)
FILLED = "{request}, {reply} and {critique} are filled in; without {reply} they follow as JSON."


@dataclass(frozen=True)
class Refinement:
    """Critique and rewriting of replies, by the model or the one from before the federation."""

    context: ModelContext
    task: DefenseTask
    critique: str
    rewrite: str
    fine: str
    passes: int
    trusted: bool
    counted: Counter[str]

    def __call__(self, exchanges: Sequence[Exchange]) -> list[Exchange]:
        """Return the same requests with their refined replies; an empty one leaves the old."""
        found = list(exchanges)
        with self.context.reference(self.task.start) if self.trusted else nullcontext():
            for _ in range(self.passes):
                faults = self.context.write([asked(self.critique, one) for one in found])
                self.counted["criticised"] += len(found)
                wrong = [i for i, said in enumerate(faults) if not self._is_fine(said)]
                texts = [asked(self.rewrite, found[i], faults[i]) for i in wrong]
                for i, reply in zip(wrong, self.context.write(texts), strict=True):
                    self.counted["rewritten"] += bool(reply.strip())
                    found[i] = replace(found[i], reply=reply if reply.strip() else found[i].reply)
        return found

    def _is_fine(self, critique: str) -> bool:
        return bool(self.fine) and self.fine in critique


def asked(template: str, exchange: Exchange, critique: str = "") -> str:
    """Return what is asked about an exchange: in the template's places, else as JSON after it.

    In JSON the request and the reply are data: their quotes and line ends are escaped.
    """
    shown = {"request": exchange.prompt.instruction, "reply": exchange.reply, "critique": critique}
    if "{reply}" in template:  # filled in one pass: a request that holds {reply} stays as it is
        return re.sub(r"\{(request|reply|critique)\}", lambda found: shown[found[1]], template)
    return f"{template}\n\n{json.dumps({k: v for k, v in shown.items() if v}, indent=1)}"
