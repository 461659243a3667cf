"""Settings that a resident session is loaded from, as sent to clients."""

from dataclasses import dataclass

from fedsafe.experiment.schema import Adapter, Experiment, Model, PluginChoice, Training
from fedsafe.runs.files import digest


@dataclass(frozen=True)
class SessionSpec:
    """Settings that determine a resident session, all of them known to clients.

    Attributes:
        model: Base model.
        adapter: LoRA adapter.
        template: How a sample becomes text.
        max_length: Tokens of prompt and response.
        training: How it will be trained, for the memory check.
        max_new_tokens: Longest reply.
        batch_size: Replies generated at a time.
    """

    model: Model
    adapter: Adapter
    template: PluginChoice
    max_length: int
    training: Training
    max_new_tokens: int
    batch_size: int

    @classmethod
    def of(cls, experiment: Experiment) -> "SessionSpec":
        """Return the spec of an experiment; the ranks of single clients are no part of it."""
        return cls(
            model=experiment.model,
            adapter=experiment.adapter.for_session(),
            template=experiment.data.template,
            max_length=experiment.data.max_length,
            training=experiment.training,
            max_new_tokens=experiment.evaluation.max_new_tokens,
            batch_size=experiment.evaluation.batch_size,
        )

    @property
    def key(self) -> str:
        """Names what is loaded; of the training only what changes the loaded model."""
        parts = (self.model, self.adapter, self.template)
        numbers = (self.max_length, self.max_new_tokens, self.batch_size)
        dumped = (part.model_dump_json() for part in parts)
        return digest(*dumped, *numbers, self.training.checkpointing, self.training.cache_frozen)
