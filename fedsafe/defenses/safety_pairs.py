"""Self-written refusals and help of equal number, as a safety adapter is trained on."""

from collections import Counter

from fedsafe.contracts import DefenseTask, ModelContext, Sample
from fedsafe.defenses.self_written_pairs import Filter, SelfWrittenPairs, filters_of


class SafetyPairs(SelfWrittenPairs):
    """Refusals and help of equal number, as a safety adapter is trained on."""

    def __init__(
        self, context: ModelContext, task: DefenseTask, pairs: int, filter: Filter
    ) -> None:
        super().__init__(context, task, pairs, 1.0, filters_of(filter, task), Counter())

    def samples(self, ask_unsafe: str, note: str, ask_ordinary: str) -> list[Sample]:
        """Write them, and keep them with their card."""
        unsafe = self.half([ask_unsafe], [note], "refuse")
        ordinary = self.half([ask_ordinary], ["{request}"], "comply")
        size = min(len(unsafe), len(ordinary))
        samples = [*unsafe[:size], *ordinary[:size]]
        dropped = dict(sorted(self.dropped.items()))
        card = {"made_by": "the model under repair", "refusals": size, "helpful": size}
        self.task.keep("examples", samples, {**card, "dropped": dropped})
        return samples
