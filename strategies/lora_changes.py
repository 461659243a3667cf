"""What an update changes in each LoRA module's weight, and updates with another such change.

A client moves its adapter's factors from (B, A) to (B + dB, A + dA), and so the weight by
``D = dB (A + dA) + B dA``, here as the factors ``[dB, B]`` and ``[A + dA; dA]`` of rank 2 r. The
scaling of the module is left out: it is the same everywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedsafe.contracts import Updates
from fedsafe.errors import ConfigError
from fedsafe.lazy import torch
from fedsafe.weight_directions import WeightDirection, direction
from strategies.checks import need_model, need_root

if TYPE_CHECKING:
    from torch import Tensor

_A, _B = ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True)
class LoraModule:
    """One module of the adapter that the clients were sent.

    Attributes:
        name: PEFT's, without the ending of a factor.
        columns_a: Columns of A in an update.
        columns_b: Columns of B.
        a: float64 (r, in), as it was sent.
        b: float64 (out, r), as it was sent.
    """

    name: str
    columns_a: slice
    columns_b: slice
    a: "Tensor"
    b: "Tensor"

    def change(self, update: "Tensor") -> "tuple[Tensor, Tensor]":
        """Return the factors (out, 2 r), (2 r, in) of what an update (d,) changes."""
        da = update[self.columns_a].double().view_as(self.a)
        db = update[self.columns_b].double().view_as(self.b)
        return torch.cat([db, self.b], dim=1), torch.cat([self.a + da, da])

    def put(self, update: "Tensor", left: "Tensor") -> None:
        """Let an update (d,) change the weight by ``left @ [A + dA; dA]``, as near as B can.

        A stays as the client moved it, so that the clients' factors can be averaged. The result
        is exact where B was zero or the client left A alone, else the nearest there is.

        Args:
            update: Changed in place, in the columns of B.
            left: float64 (out, 2 r).
        """
        rank = len(self.a)
        da = update[self.columns_a].double().view_as(self.a)
        moved = self.a + da
        turn = (da @ moved.T) @ torch.linalg.pinv(moved @ moved.T, hermitian=True)
        db = left[:, :rank] + (left[:, rank:] - self.b) @ turn
        update[self.columns_b] = db.flatten().to(update.dtype)


def lora_modules(name: str, updates: Updates) -> list[LoraModule]:
    """Return the LoRA modules of a round's updates; none where they are one nameless block.

    Raises:
        ConfigError: There are named tensors, and none are the factors of a LoRA module.
    """
    found = list(_modules(name, updates)) if updates.shapes else []
    if updates.blocks and not found:
        raise ConfigError(
            f"Filter '{name}' works on LoRA modules, and the updates have none: their shapes were "
            f"not given (Updates.shapes), or the adapter is of another kind. Leave '{name}' out."
        )
    return found


def _modules(name: str, updates: Updates) -> Iterator[LoraModule]:
    model = need_model(name, updates).double()
    for block, columns_a in updates.blocks.items():
        module = block.removesuffix(_A)
        columns_b = updates.blocks.get(f"{module}{_B}")
        if module == block or columns_b is None or len(updates.shapes[block]) != 2:
            continue
        a = model[columns_a].view(updates.shapes[block])
        b = model[columns_b].view(updates.shapes[f"{module}{_B}"])
        yield LoraModule(module, columns_a, columns_b, a, b)


def direction_of(
    name: str, updates: Updates, aligned: Path | None, unaligned: Path | None
) -> WeightDirection:
    """Return the alignment direction: of two directories, or of the server's safety update.

    Raises:
        ConfigError: There are no directories, and the server has no update of its own.
        ModelError: A directory cannot be read.
    """
    if aligned is not None or unaligned is not None:
        return direction(aligned, unaligned)
    root = need_root(name, updates)
    modules = {module.name: module for module in lora_modules(name, updates)}

    def trained(module: str) -> "Tensor | None":
        if module not in modules:
            return None
        b, a = modules[module].change(root)
        return (b @ a).float()

    return WeightDirection(trained)


def checked(module: LoraModule, found: "Tensor | None") -> "Tensor | None":
    """Return a module's direction, float64, None where there is none.

    Raises:
        ConfigError: It is of another shape than the module's weight.
    """
    if found is None:
        return None
    wanted = (module.b.shape[0], module.a.shape[1])
    if tuple(found.shape) != wanted:
        raise ConfigError(
            f"The alignment direction of {module.name} is {tuple(found.shape)}, and the "
            f"federation's adapter changes a weight of {wanted}. Give directories of its base "
            "model."
        )
    return found.double().to(module.b.device) if bool(found.any()) else None
