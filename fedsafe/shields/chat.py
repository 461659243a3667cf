"""Serve a model of transformers through shields: ``fedsafe.shielded(model, tokenizer, shields)``.

Order, however they are listed: what refines replies stands outermost (`self-refine`), then
injection shields and others in the order given, and `secret-prefix` innermost. So the secret
comes before all text, and no other shield sees or repeats it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fedsafe.contracts import Complete, Sample, ShieldChoice, Turn
from fedsafe.contracts import shields as registered
from fedsafe.data.chat_template import takes_system
from fedsafe.errors import ConfigError, ModelError
from fedsafe.lazy import torch
from fedsafe.plugins.secret_settings import with_secrets
from fedsafe.redaction import redact, secrets_of
from fedsafe.shields.serving import apply_shield, resolved

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RANKS = {"self-refine": 0, "secret-prefix": 2}
"""Outermost first; shields that are not named here are between them."""


def in_order(shields: Sequence[ShieldChoice]) -> list[ShieldChoice]:
    """Return shields outermost first, in the documented order."""
    return sorted(shields, key=lambda choice: RANKS.get(choice.name, 1))


def apply_shields(
    shields: Sequence[ShieldChoice],
    complete: Complete,
    samples: Sequence[Sample],
    prefills: Sequence[str],
) -> list[str]:
    """Return replies generated through several shields in the documented order.

    Secret values of the shields are taken out of the replies.

    Raises:
        ConfigError: A setting is wrong; the message names it without its value.
        PluginError: There is no such shield.
        RunError: A shield does not give one reply a sample.
    """
    around = complete
    for choice in reversed(in_order(shields)):
        around = partial(apply_shield, choice, around)
    settings = [with_secrets(resolved(choice)) for choice in shields]
    secrets = [secret for values in settings for secret in secrets_of(values)]
    return [redact(reply, secrets) for reply in around(samples, prefills)]


@dataclass(frozen=True)
class Shielded:
    """A model of transformers that answers chat messages through shields.

    Attributes:
        model: Causal language model, with an adapter or without.
        tokenizer: Its tokenizer, with a chat template.
        shields: In any order.
        max_new_tokens: Of each generation.
    """

    model: Any
    tokenizer: Any
    shields: tuple[ShieldChoice, ...]
    max_new_tokens: int = 256

    def reply(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the greedy reply to a conversation whose last message is the user's.

        Args:
            messages: Each with ``role`` (system first if at all, then user and assistant in
                turn) and ``content``.

        Raises:
            ConfigError: The messages are of another form, or a shield's setting is wrong.
        """
        return apply_shields(self.shields, self._complete, [sample_of(messages)], [""])[0]

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the text that the model is given first, as `reply` gives it.

        Raises:
            ConfigError: The messages are of another form, or a shield's setting is wrong.
        """
        met: list[Sample] = []

        def complete(samples: Sequence[Sample], prefills: Sequence[str]) -> list[str]:
            met.extend(samples)
            return list(prefills)

        apply_shields(self.shields, complete, [sample_of(messages)], [""])
        return prompt_of(self.tokenizer, served_messages(self.tokenizer, met[0]))

    def _complete(self, samples: Sequence[Sample], prefills: Sequence[str]) -> list[str]:
        replies = []
        for sample, prefill in zip(samples, prefills, strict=True):
            text = prompt_of(self.tokenizer, served_messages(self.tokenizer, sample))
            given = self.tokenizer(text + prefill, return_tensors="pt", add_special_tokens=False)
            given = given.to(self.model.device)
            with torch.no_grad():
                made = self.model.generate(
                    **given, max_new_tokens=self.max_new_tokens, do_sample=False
                )
            new = made[0, given["input_ids"].shape[1] :]
            replies.append(prefill + self.tokenizer.decode(new, skip_special_tokens=True))
        return replies


def shielded(
    model: Any,
    tokenizer: Any,
    shields: Sequence[str | Mapping[str, Any] | ShieldChoice],
    *,
    max_new_tokens: int = 256,
) -> Shielded:
    """Return a model that answers chat messages through shields.

    Args:
        model: Causal language model of transformers, with an adapter or without.
        tokenizer: Its tokenizer, with a chat template.
        shields: Names, mappings of ``name`` and settings, or what `load_shield` returns.
        max_new_tokens: Of each generation.

    Raises:
        ConfigError: A shield has no name, or a setting is wrong.
        PluginError: There is no such shield.
    """
    choices = tuple(_choice(given) for given in shields)
    for choice in choices:
        resolved(choice)
    return Shielded(model, tokenizer, choices, max_new_tokens)


def sample_of(messages: Sequence[Mapping[str, str]]) -> Sample:
    """Return a conversation as a sample.

    Raises:
        ConfigError: It is not user and assistant in turn, the user last, a system message first.
    """
    roles = [message.get("role", "") for message in messages]
    begin = 1 if roles[:1] == ["system"] else 0
    expected = [("user", "assistant")[n % 2] for n in range(len(roles) - begin)]
    if roles[begin:] != expected or not expected or expected[-1] != "user":
        raise ConfigError(
            f"Messages have the roles {', '.join(roles) or 'none'}. Give an optional system "
            "message, then user and assistant in turn, the last one the user's."
        )
    texts = [message.get("content", "") for message in messages]
    turns = texts[begin:]
    history = tuple(Turn(turns[n], turns[n + 1]) for n in range(0, len(turns) - 1, 2))
    return Sample(turns[-1], "", system=texts[0] if begin else "", history=history)


def messages_of(sample: Sample) -> list[dict[str, str]]:
    """Return a sample as chat messages; an input follows the instruction after a blank line."""
    found = [{"role": "system", "content": sample.system}] if sample.system else []
    for turn in sample.history:
        found.append({"role": "user", "content": turn.instruction})
        found.append({"role": "assistant", "content": turn.response})
    asked = "\n\n".join(part for part in (sample.instruction, sample.input) if part)
    return [*found, {"role": "user", "content": asked}]


def served_messages(tokenizer: "PreTrainedTokenizerBase", sample: Sample) -> list[dict[str, str]]:
    """Return a sample as the messages of a tokenizer's chat template, as template ``chat`` does.

    A template that has no system turn gets the system prompt in front of the first request, after
    which comes a blank line.
    """
    messages = messages_of(sample)
    if not sample.system or takes_system(tokenizer):
        return messages
    first, *rest = messages[1:]
    return [{**first, "content": f"{sample.system}\n\n{first['content']}"}, *rest]


def prompt_of(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Mapping[str, str]]) -> str:
    """Return the text that asks for the reply to messages.

    Raises:
        ModelError: The tokenizer has no chat template, or it refuses the messages.
    """
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise ModelError("This tokenizer has no chat template. Use a model that is tuned for chat.")
    try:
        text: Any = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True
        )
    except TemplateError as error:
        raise ModelError(f"The chat template refuses the conversation: {error}.") from None
    return str(text)


def _choice(given: str | Mapping[str, Any] | ShieldChoice) -> ShieldChoice:
    if isinstance(given, ShieldChoice):
        return given
    shield, settings = registered.chosen(given)
    return ShieldChoice(shield.name, settings)
