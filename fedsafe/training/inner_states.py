"""Hidden states of a resident model: read at the end of prompts, altered while it computes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from fedsafe.contracts import Batch, Change, Sample
from fedsafe.data.batches import collate, pad_id, reply_start
from fedsafe.errors import ModelError
from fedsafe.lazy import torch
from fedsafe.models.base import LoadedModel
from fedsafe.models.frozen_layers import layers_of
from fedsafe.training import forward
from fedsafe.training.session import Session


class SessionStates:
    """Hidden states of a session's model (the `InnerStates` contract)."""

    session: Session

    @property
    def depth(self) -> int:
        """Number of the last layer."""
        return depth_of(self.session.loaded)

    def hidden_states(self, batch: Batch, layers: Sequence[int]) -> "dict[int, torch.Tensor]":
        """Return the hidden states (b, t, h) after chosen layers, 0 being the embeddings."""
        return forward.hidden_states(self.session.loaded, batch, layers)

    def prompt_states(self, samples: Sequence[Sample]) -> "dict[int, torch.Tensor]":
        """Return the hidden states (n, h) at the last token of each prompt, after each layer."""
        return prompt_states(self.session, samples)

    def altered(self, changes: Mapping[int, Change]) -> AbstractContextManager[None]:
        """Change the hidden states after chosen layers inside the block."""
        return altered(self.session.loaded, changes)


def depth_of(loaded: LoadedModel) -> int:
    """Return the number of a model's layers."""
    config = loaded.model.get_base_model().config.get_text_config(decoder=True)
    return int(config.num_hidden_layers)


def prompt_states(session: Session, samples: Sequence[Sample]) -> "dict[int, torch.Tensor]":
    """Return float32 hidden states (n, h) on the CPU, at the last token of each prompt, by layer.

    Prompts of like length go through the model together.

    Raises:
        ModelError: A prompt fills the model's positions.
    """
    loaded, tokenizer = session.loaded, session.loaded.tokenizer
    asked = [
        reply_start(tokenizer, session.template, sample, rows=loaded.rows)[0] for sample in samples
    ]
    _see_that_they_fit(loaded, asked)
    layers = range(1, depth_of(loaded) + 1)
    rows: dict[int, list[Any]] = {layer: [None] * len(asked) for layer in layers}
    ordered = sorted(range(len(asked)), key=lambda index: len(asked[index]))
    for begin in range(0, len(ordered), session.batch_size):
        chosen = ordered[begin : begin + session.batch_size]
        batch = collate([(asked[i], len(asked[i])) for i in chosen], pad_id(tokenizer))
        with torch.no_grad(), forward.autocast(loaded):
            states = forward.hidden_states(loaded, batch, layers)
        last = batch.attention_mask.sum(dim=1) - 1
        for layer in layers:
            own = states[layer]
            picked = own[torch.arange(len(chosen)), last.to(own.device)].float().cpu()
            for row, index in enumerate(chosen):
                rows[layer][index] = picked[row]
    return {layer: torch.stack(found) for layer, found in rows.items()}


@contextmanager
def altered(loaded: LoadedModel, changes: Mapping[int, Change]) -> Iterator[None]:
    """Change the hidden states after chosen layers inside the block, in every pass.

    The last layer's are changed after the final norm, as `hidden_states` counts them.

    Raises:
        ModelError: There is no such layer, or the model's layers are not one list.
    """
    decoder = loaded.model.get_base_model().base_model
    layers = layers_of(decoder)
    if not layers:
        raise ModelError(
            "The hidden states of this model cannot be altered: its layers are not one list. "
            "Leave condition 'steered' out."
        )
    with ExitStack() as stack:
        for number, change in changes.items():
            if not 1 <= number <= len(layers):
                raise ModelError(
                    f"Layer {number} is to be altered, and this model has layers 1 to "
                    f"{len(layers)}. Name one of these."
                )
            module = decoder if number == len(layers) else layers[number - 1]
            hook = module.register_forward_hook(_hook(change), prepend=True)
            stack.callback(hook.remove)
        yield


def _hook(change: Change) -> Callable[[Any, Any, Any], Any]:
    """Return a forward hook that changes a layer's or a decoder's output."""

    def changed(_module: Any, _given: Any, output: Any) -> Any:
        if isinstance(output, torch.Tensor):
            return change(output)
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        output.last_hidden_state = last = change(output.last_hidden_state)
        if output.hidden_states is not None:
            output.hidden_states = (*output.hidden_states[:-1], last)
        return output

    return changed


def _see_that_they_fit(loaded: LoadedModel, asked: Sequence[Sequence[int]]) -> None:
    longest = max(map(len, asked), default=0)
    if loaded.positions is not None and longest > loaded.positions[0]:
        raise ModelError(
            f"A prompt of {longest} tokens is longer than the model's {loaded.positions[0]} "
            f"positions ({loaded.positions[1]}). Leave it out of the evaluation's suites or of "
            "safety_probe."
        )
