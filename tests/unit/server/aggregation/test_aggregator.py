"""FedSafe's own pipelines: one message a client, one aggregate a round."""

import pytest
import torch

from fedsafe.contracts import Updates
from fedsafe.errors import ConfigError, PluginError, RunError
from fedsafe.experiment.schema import Strategy
from fedsafe.models.compression import Wire
from server.aggregation.aggregator import RuleAggregator, aggregator_of
from tests.doubles.grids import ScriptedGrid, at_once, empty_reply
from tests.doubles.requests import arrays_in

ADAPTER = {"a": torch.zeros(2, 2), "b": torch.ones(3)}
GRID = ScriptedGrid([], empty_reply, at_once)


def _updates(rows: int) -> Updates:
    matrix = torch.arange(rows * 7, dtype=torch.float32).view(rows, 7)
    weights = torch.full((rows,), 1 / rows)
    return Updates(matrix, weights, {"a": slice(0, 4), "b": slice(4, 7)})


def _combiner(**choice: object) -> RuleAggregator:
    found = aggregator_of(Strategy.model_validate(choice), GRID)
    assert isinstance(found, RuleAggregator)
    return found


def test_mean_is_the_mean() -> None:
    found = _combiner(name="mean").combine(_updates(3), ADAPTER, [], {})
    assert found.update.tolist() == pytest.approx([7, 8, 9, 10, 11, 12, 13])


def test_influence_says_how_much_each_counted() -> None:
    found = _combiner(name="mean").combine(_updates(4), ADAPTER, [], {})
    assert found.influence is not None
    assert found.influence.tolist() == pytest.approx([0.25] * 4)


def test_optimizer_remembers_through_the_state() -> None:
    made = _combiner(name="mean", optimizer={"name": "fedadam"})
    state = made.combine(_updates(3), ADAPTER, [], {}).state
    one = made.combine(_updates(3), ADAPTER, [], state)
    fresh = _combiner(name="mean", optimizer={"name": "fedadam"})
    other = fresh.combine(_updates(3), ADAPTER, [], state)
    assert torch.equal(one.update, other.update)


def test_filters_come_before_the_rule() -> None:
    made = _combiner(name="mean", filters=[{"name": "clip", "norm": 1.0}])
    assert float(made.combine(_updates(1), ADAPTER, [], {}).update.norm()) == pytest.approx(1.0)


def test_messages_go_to_the_nodes_in_order() -> None:
    sent = _combiner(name="mean").messages(3, ADAPTER, {0: 7, 1: 5, 2: 7}, {})
    assert [message.metadata.dst_node_id for message in sent] == [7, 5, 7]


def test_messages_carry_adapter_and_round() -> None:
    (message,) = _combiner(name="mean").messages(3, ADAPTER, {0: 7}, {})
    assert {name: array.tolist() for name, array in arrays_in(message).items()} == {
        "a": [[0, 0], [0, 0]],
        "b": [1, 1, 1],
    }
    assert message.content["config"]["server-round"] == 3


@pytest.mark.parametrize("wire", ["bfloat16", "int8"])
def test_messages_carry_the_adapter_as_agreed(wire: Wire) -> None:
    made = aggregator_of(Strategy(name="mean"), GRID, wire)
    (message,) = made.messages(3, {"b": torch.tensor([1.0, -2.5])}, {0: 7}, {})
    array = arrays_in(message, wire)["b"]
    assert (str(array.dtype), array.tolist()) == ("uint16", [0x3F80, 0xC020])


def test_settings_of_each_message_are_its_own() -> None:
    one, other = _combiner(name="mean").messages(3, ADAPTER, {0: 7, 1: 5}, {})
    one.content["config"]["job"] = "x"
    assert "job" not in other.content["config"]


def test_unknown_strategy_is_a_sentence() -> None:
    with pytest.raises(PluginError, match="Unknown rule"):
        aggregator_of(Strategy(name="mmean"), GRID)


def test_wrong_setting_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="cannot be set up"):
        _combiner(name="krum", byzantine=-1)


def test_update_that_is_not_finite_is_a_sentence() -> None:
    updates = Updates(torch.full((2, 7), 3e38), torch.ones(2), {})
    with pytest.raises(RunError, match="Rule 'mean' made an update that is not finite"):
        _combiner(name="mean").combine(updates, ADAPTER, [], {})
