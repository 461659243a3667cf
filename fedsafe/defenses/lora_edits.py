"""LoRA modules as weight edits see them, and edited changes brought back to their rank.

An edit may act on the whole change ``scaling * b @ a``, whose result is of full rank; what
goes back into the adapter is its best approximation of the adapter's rank.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedsafe.contracts import Adapter, Factors, ModelContext, Sample
from fedsafe.errors import ModelError, RunError
from fedsafe.lazy import torch
from fedsafe.weights.edits import low_rank


@dataclass
class LoraEdits:
    """An adapter that is edited module by module.

    Attributes:
        context: The model.
        tensors: The adapter's tensors, edited in place of the names; what is no pair of factors,
            such as an embedding's or a bias, stays as it is.
        errors: Relative Frobenius error of each module that was brought back to its rank.
    """

    context: ModelContext
    tensors: "dict[str, torch.Tensor]"
    errors: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, context: ModelContext) -> "LoraEdits":
        """Begin with the adapter as it is."""
        return cls(context, context.adapter())

    def modules(self) -> Iterator[tuple[str, Factors]]:
        """Yield each LoRA module's name and factors."""
        yield from factors_of(self.context, self.tensors).items()

    def put(self, module: str, change: "torch.Tensor") -> None:
        """Replace a module's change (out, in) by its best approximation of the module's rank."""
        own = _one(self.context, self.tensors, module)
        if torch.equal(change, own.change):
            return
        rank = own.a.shape[0]
        b, a = low_rank(change / own.scaling, rank)
        missing = (own.scaling * b @ a - change).norm() / change.norm().clamp_min(1e-30)
        self.errors[module] = float(missing)
        self.tensors[f"{module}.lora_B.weight"] = _padded(b, (own.b.shape[0], rank))
        self.tensors[f"{module}.lora_A.weight"] = _padded(a, (rank, own.a.shape[1]))

    def report(self, message: str, **numbers: float) -> None:
        """Report the edit, with what the rank cost: the mean and the largest relative error."""
        errors = list(self.errors.values())
        if errors:
            numbers["rank_error_mean"] = sum(errors) / len(errors)
            numbers["rank_error_max"] = max(errors)
        self.context.report(message, **numbers)


def factors_of(context: ModelContext, adapter: "Mapping[str, torch.Tensor]") -> dict[str, Factors]:
    """Return the LoRA modules of an adapter of this model, by name."""
    ends = ".lora_A.weight"
    names = [name.removesuffix(ends) for name in adapter if name.endswith(ends)]
    flat = [name for name in names if adapter[f"{name}{ends}"].dim() == 2]
    return {name: _one(context, adapter, name) for name in flat}


def aligned_start(context: ModelContext, start: Adapter, setting: str) -> dict[str, Factors]:
    """Return the LoRA modules of the aligned adapter that a federation began from.

    Args:
        context: The model.
        start: The adapter from before the federation.
        setting: What asks for it, for the message.

    Raises:
        RunError: It changes nothing: the model from before the federation is the base itself.
    """
    found = factors_of(context, start)
    if not any(bool(own.b.any()) and bool(own.a.any()) for own in found.values()):
        raise RunError(
            f"{setting} needs a model that was aligned before the federation, and this one is the "
            f"base itself. Set alignment or adapter.start, or another {setting.partition(':')[0]}."
        )
    return found


def check_fit(read: Mapping[str, Factors], own: Mapping[str, Factors], where: Path | str) -> None:
    """Check that an adapter that was read changes modules of this model.

    Raises:
        ModelError: They share no module, or a module is of another shape.
    """
    shared = read.keys() & own.keys()
    if not shared:
        raise ModelError(
            f"The adapter in {where} has none of this model's LoRA modules, such as "
            f"{next(iter(own), 'any')}. Give an adapter of this base model."
        )
    for module in sorted(shared):
        found, wanted = ((one.b.shape[0], one.a.shape[1]) for one in (read[module], own[module]))
        if found != wanted:
            raise ModelError(
                f"The adapter in {where} changes {module} as a weight of {found}; here it is "
                f"{wanted}. Give an adapter of this base model."
            )


def _one(context: ModelContext, adapter: "Mapping[str, torch.Tensor]", module: str) -> Factors:
    a = f"{module}.lora_A.weight"
    return Factors(adapter[f"{module}.lora_B.weight"], adapter[a], context.scaling(a))


def _padded(matrix: "torch.Tensor", shape: tuple[int, ...]) -> "torch.Tensor":
    """Fill up with zeros where the weight's own rank is below the adapter's."""
    padded = torch.zeros(shape, dtype=matrix.dtype)
    padded[: matrix.shape[0], : matrix.shape[1]] = matrix
    return padded


def trained_aside(
    context: ModelContext, start: Adapter, samples: Sequence[Sample], steps: int, rate: float
) -> dict[str, Factors]:
    """Train another adapter from a start, and put the one that was there back.

    Args:
        context: The model.
        start: Where the training begins.
        samples: What it trains on.
        steps: Optimizer steps.
        rate: Learning rate.
    """
    there = context.adapter()
    context.put(start)
    context.fit(samples, steps=steps, learning_rate=rate)
    trained = factors_of(context, context.adapter())
    context.put(there)
    return trained
