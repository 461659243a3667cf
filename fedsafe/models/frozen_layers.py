"""Activations below the adapter, computed once for each example and kept.

An adapter on the upper layers alone leaves the lower ones frozen, and what they make of an
example the same for every step, client and round. Their output is kept by token ids, on the CPU
and within a limit; a later pass starts from it. What is kept belongs to one loaded model.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from fedsafe.contracts import Batch
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.models.device_memory import free_bytes

SHARE = 8
"""The activations may take one in so many of the bytes that are free at first."""
MOST = 2 * 2**30
"""Bytes that they take at most, unless a limit is set."""
KNOWN = frozenset({"llama", "mistral", "qwen2", "qwen3", "phi3", "olmo2", "gpt2"})
"""Architectures whose layers pass hidden states on and nothing else; others are tried first."""
AFTER = ("norm.", "ln_f.", "final_layer_norm.", "final_layernorm.")
"""Names of a decoder's modules that come after its layers."""
EVERYWHERE = "the adapter is on the lowest layer too"
CLOSE = 1e-3
"""Relative difference up to which two passes of an architecture that is not known agree."""


class FrozenLayers:
    """The lower layers of a model, and what they made of the examples so far.

    Attributes:
        depth: Layers below the lowest one with an adapter; 0: nothing is kept.
        reason: Why nothing is kept; empty when something is.
        limit: Bytes that may be kept; further examples go through all layers each time.
        used: Bytes that are kept.
        recalled: Examples that were there when they were needed.
        computed: Examples that were not.
    """

    def __init__(self, model: Any, limit: int | None = None) -> None:
        """Look which layers stay as they are.

        Args:
            model: PEFT model, its adapter attached.
            limit: Bytes; 0 keeps nothing, None takes a share of the free memory.
        """
        base = model.get_base_model()
        self._decoder = base.base_model
        self._sure = base.config.model_type in KNOWN
        self.depth, self.reason = frozen_depth(model)
        if limit == 0:
            self.depth, self.reason = 0, "training.cache_frozen is off"
        free = free_bytes(torch.device("cpu")) or MOST * SHARE
        self.limit = min(MOST, free // SHARE) if limit is None else limit
        self.used = self.recalled = self.computed = 0
        self._kept: dict[tuple[int, ...], torch.Tensor] = {}

    def __str__(self) -> str:
        """Return what is kept, or why nothing is, as a sentence; empty for an adapter all over."""
        if self.depth:
            size = f"at most {self.limit / 2**20:.0f} MiB"
            return f"What the {self.depth} frozen layers make of an example is kept ({size})."
        return "" if self.reason == EVERYWHERE else f"No activations are kept: {self.reason}."

    @contextmanager
    def recall(self, batch: Batch) -> Iterator[None]:
        """Let the model start above the frozen layers inside the block, for this batch.

        A pass without gradients through the lower layers comes first, for the rows that were
        not met before.
        """
        below = self._below(batch) if self.depth else None
        if below is None:
            yield
            return
        with self._starting_from(below):
            yield

    @contextmanager
    def _starting_from(self, below: "torch.Tensor") -> Iterator[None]:
        layers = layers_of(self._decoder)
        with _forward(layers[: self.depth], lambda *_, **__: below):
            yield

    def _below(self, batch: Batch) -> "torch.Tensor | None":
        """Return the hidden states (b, t, h) that enter the lowest layer with an adapter."""
        lengths = batch.attention_mask.sum(dim=1).tolist()
        if any(not row[:n].all() for row, n in zip(batch.attention_mask, lengths, strict=True)):
            return None  # not right-padded: its tokens stand at other positions
        ids = batch.input_ids.tolist()
        keys = [tuple(row[:n]) for row, n in zip(ids, lengths, strict=True)]
        new = [row for row, key in enumerate(keys) if key not in self._kept]
        self.recalled, self.computed = (
            self.recalled + len(keys) - len(new),
            self.computed + len(new),
        )
        fresh: dict[int, torch.Tensor] = {}
        if new:
            width = max(lengths[row] for row in new)
            found = self._computed(batch.input_ids[new, :width], batch.attention_mask[new, :width])
            if found is None:
                return None
            fresh = {row: found[i, : lengths[row]] for i, row in enumerate(new)}
            for row, states in fresh.items():
                self._keep(keys[row], states)
        rows = [fresh[row] if row in fresh else self._kept[key] for row, key in enumerate(keys)]
        device = next(self._decoder.parameters()).device
        below = torch.zeros((*batch.input_ids.shape, rows[0].shape[-1]), dtype=rows[0].dtype)
        below = below.to(device)
        for row, states in enumerate(rows):
            below[row, : len(states)] = states.to(device, non_blocking=True)
        return below

    def _keep(self, key: tuple[int, ...], states: "torch.Tensor") -> None:
        if key not in self._kept and self.used + states.nbytes <= self.limit:
            self._kept[key] = states.to("cpu", copy=True)
            self.used += states.nbytes

    def _computed(self, ids: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor | None":
        """Return what the frozen layers make of rows; None where they cannot be told apart."""
        outputs: list[Any] = []
        layers = layers_of(self._decoder)
        last = layers[self.depth - 1]
        hook = last.register_forward_hook(lambda _m, _given, output: outputs.append(output))
        try:
            with torch.no_grad(), _forward(layers[self.depth :], lambda states, *_, **__: states):
                self._pass(ids, mask)
        finally:
            hook.remove()
        (found,) = outputs
        if not isinstance(found, torch.Tensor) or found.shape[:2] != ids.shape:
            self._give_up("its layers hand on more than hidden states")
            return None
        if not self._sure:
            self._sure = True
            with torch.no_grad():
                whole = self._pass(ids, mask)
                with self._starting_from(found):
                    apart = self._pass(ids, mask)
            counted = mask.bool()
            difference = (whole - apart)[counted].abs().max()
            if difference > CLOSE * whole[counted].abs().max():
                self._give_up("its upper layers use more than what the lower ones give")
                return None
        return found

    def _pass(self, ids: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
        device = next(self._decoder.parameters()).device
        found: torch.Tensor = self._decoder(
            input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False
        ).last_hidden_state
        return found

    def _give_up(self, reason: str) -> None:
        self.depth, self.reason = 0, reason


def limit_of(setting: int | str) -> int | None:
    """Return the bytes of a setting ``training.cache_frozen``: MiB, off, or auto (None)."""
    if isinstance(setting, int):
        return setting * 2**20
    return None if setting == "auto" else 0


@contextmanager
def _forward(modules: Sequence[Any], forward: Callable[..., Any]) -> Iterator[None]:
    """Give modules another forward inside the block."""
    with ExitStack() as stack:
        for module in modules:
            module.forward = forward
            stack.callback(module.__dict__.pop, "forward", None)
        yield


def layers_of(decoder: Any) -> Any:
    """Return a decoder's layers, in order; an empty list where they are not to be seen."""
    count = getattr(decoder.config.get_text_config(decoder=True), "num_hidden_layers", 0)
    for module in decoder.children():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    return []


def frozen_depth(model: Any) -> tuple[int, str]:
    """Return how many of the lowest layers an adapter leaves as they are, and why if none."""
    decoder = model.get_base_model().base_model
    layers = layers_of(decoder)
    if not layers:
        return 0, "the model's layers are not one list"
    changing = {id(parameter) for parameter in adapters.parameters(model).values()}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad or ".lora_" in name:
            changing.add(id(parameter))
    depth = next((i for i, one in enumerate(layers) if _any_of(one, changing)), len(layers))
    if depth == 0:
        return 0, EVERYWHERE
    inside = {id(parameter) for parameter in layers.parameters()}
    for name, parameter in decoder.named_parameters():
        if id(parameter) in changing - inside and not name.startswith(AFTER):
            return 0, f"the adapter also changes {name}"
    if _drops(decoder, layers, depth):
        return 0, "the model has dropout of its own in the frozen layers"
    return depth, ""


def _any_of(module: Any, parameters: set[int]) -> bool:
    return any(id(parameter) in parameters for parameter in module.parameters())


def _drops(decoder: Any, layers: Any, depth: int) -> bool:
    """Tell whether what the frozen layers give differs from pass to pass in training."""
    upper = {id(module) for layer in layers[depth:] for module in layer.modules()}
    for module in decoder.modules():
        if id(module) in upper:
            continue
        own = module.p if isinstance(module, torch.nn.Dropout) else 0
        if own or getattr(module, "attention_dropout", 0):
            return True
    return False
