"""Hidden states at the end of prompts, and altered ones."""

from dataclasses import replace

import pytest
import torch

from fedsafe.contracts import Sample
from fedsafe.errors import ModelError
from fedsafe.evaluation.judging import judging_context
from fedsafe.training.session import Session

SAMPLES = [Sample("Add two and five, and then some.", ""), Sample("Add.", ""), Sample("Add 7.", "")]


def test_prompt_states_are_those_before_the_first_token_of_a_reply(session: Session) -> None:
    context = judging_context(session)
    found = context.prompt_states(SAMPLES)
    assert list(found) == [1, 2] == list(range(1, context.depth + 1))
    for row, sample in enumerate(SAMPLES):
        (batch,) = context.batches([replace(sample, response="The sum is seven.")])
        last = int((batch.labels[0] != -100).int().argmax()) - 1
        with torch.no_grad():
            states = context.hidden_states(batch, [1, 2])
        for layer in (1, 2):
            torch.testing.assert_close(found[layer][row], states[layer][0, last])


@pytest.mark.parametrize("layer", [1, 2])
def test_altered_layer_gives_what_it_was_changed_to(session: Session, layer: int) -> None:
    context = judging_context(session)
    before = context.prompt_states(SAMPLES)
    marked = torch.linspace(-1, 1, before[1].shape[1])
    with context.altered({layer: marked.expand_as}):
        within = context.session.complete(SAMPLES)
        seen = context.prompt_states(SAMPLES)[layer]
    plain = context.session.complete(SAMPLES)
    after = context.prompt_states(SAMPLES)
    assert within[0] == within[1] == within[2] != plain[0]
    torch.testing.assert_close(seen, marked.expand_as(seen))
    assert all(torch.equal(after[n], before[n]) for n in before)


def test_change_of_nothing_changes_nothing(session: Session) -> None:
    context = judging_context(session)
    with context.altered({1: lambda states: states, 2: lambda states: states}):
        within = context.session.complete(SAMPLES, share=False)
    assert within == context.session.complete(SAMPLES)


def test_layer_that_is_not_there_is_a_sentence(session: Session) -> None:
    with (
        pytest.raises(ModelError, match=r"Layer 7 .* layers 1 to 2"),
        judging_context(session).altered({7: lambda states: states}),
    ):
        pass
