"""Fit safety probes on a model's hidden states: the aligned model's (frozen), or its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsafe.contracts import DiagnosticTask, ModelContext, Sample
from fedsafe.diagnostics.linear_probe import LinearProbe, best, fit_layers
from fedsafe.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Fitted:
    """The probe of each layer, with the hidden states (n, h) that it was made of, by layer."""

    probes: Mapping[int, LinearProbe]
    harmful: "Mapping[int, Tensor]"
    benign: "Mapping[int, Tensor]"

    def at(self, layer: int | None) -> LinearProbe:
        """Return the probe of a layer, counted from 1; None: of the best one.

        Raises:
            RunError: There is no such layer.
        """
        if layer is None:
            return best(list(self.probes.values()))
        if layer not in self.probes:
            raise RunError(
                f"The safety probe is to read layer {layer}, and this model has layers 1 to "
                f"{max(self.probes)}. Name one of these, or null for the most accurate."
            )
        return self.probes[layer]


def frozen(context: ModelContext, task: DiagnosticTask) -> Fitted:
    """Return the probes of the aligned model, fitted once a run.

    Raises:
        RunError: There are too few requests to fit on.
    """
    if "probes" not in task.kept:
        with context.reference(task.start):
            task.kept["probes"] = _fitted(context, task)
    found: Fitted = task.kept["probes"]
    return found


def own(context: ModelContext, task: DiagnosticTask) -> Fitted:
    """Return the probes of the model as it stands, fitted once an evaluation.

    Raises:
        RunError: There are too few requests to fit on.
    """
    if "probes" not in task.shared:
        task.shared["probes"] = _fitted(context, task)
    found: Fitted = task.shared["probes"]
    return found


def _fitted(context: ModelContext, task: DiagnosticTask) -> Fitted:
    harmful = context.prompt_states(_asked(task.harmful))
    benign = context.prompt_states(_asked(task.benign))
    return Fitted(fit_layers(harmful, benign), harmful, benign)


def _asked(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Return requests, if there are any.

    Raises:
        RunError: There are none.
    """
    if not samples:
        raise RunError(
            "A safety probe needs harmful and benign requests. Name their sources: safety_probe: "
            "{harmful: {name: ...}, benign: {name: ...}}."
        )
    return samples
