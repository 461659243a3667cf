"""Any Flower strategy, on screened replies: stock ones, ours, and somebody's own."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from fedsafe.contracts import Updates
from fedsafe.errors import RunError
from fedsafe.experiment.schema import Strategy
from fedsafe.models.compression import Wire
from server.aggregation.aggregator import aggregator_of
from server.aggregation.flower_strategy import FlowerStrategyAggregator
from server.aggregation.interface import AggregationResult
from server.transport.train_messages import arrays_of, named
from server.validation import Reply
from strategies.flower import RuleStrategy, load_strategy
from tests.doubles.grids import ScriptedGrid, at_once, empty_reply
from tests.doubles.requests import arrays_in

ADAPTER = {"a": torch.zeros(2, 2), "b": torch.ones(3)}
STOCK = "flwr.serverapp.strategy"


def _combiner(name: str, wire: Wire = "float32", **settings: object) -> FlowerStrategyAggregator:
    choice = Strategy.model_validate({"name": name, **settings})
    made = aggregator_of(choice, ScriptedGrid([], empty_reply, at_once), wire)
    assert isinstance(made, FlowerStrategyAggregator)
    return made


def _round(
    made: FlowerStrategyAggregator,
    rows: list[float],
    *,
    number: int = 1,
    nodes: dict[int, int] | None = None,
    accepted: list[int] | None = None,
    counts: list[int] | None = None,
    weights: list[float] | None = None,
    state: Any = None,
    adapter: Any = ADAPTER,
) -> AggregationResult:
    """Combine rows that are constant; ``accepted`` are the clients they came from."""
    asked = nodes or {client: 70 + client for client in range(len(rows))}
    made.messages(number, adapter, asked, state or {})
    clients = accepted if accepted is not None else list(asked)
    updates = Updates(
        torch.tensor(rows)[:, None].repeat(1, 7),
        torch.tensor(weights or [1 / len(rows)] * len(rows)),
        {"a": slice(0, 4), "b": slice(4, 7)},
        number,
        tuple(map(str, clients)),
    )
    sizes = counts or [10] * len(rows)
    replies = [Reply(np.empty(0, np.float32), 1.0, 0, n, {"loss": 0.5}) for n in sizes]
    return made.combine(updates, adapter, replies, state or {})


def test_fedavg_is_the_mean() -> None:
    found = _round(_combiner(f"{STOCK}:FedAvg"), [1.0, 2.0, 6.0])
    assert found.update.tolist() == pytest.approx([3.0] * 7)


def test_fedavg_believes_the_servers_weights_not_the_clients_counts() -> None:
    found = _round(_combiner(f"{STOCK}:FedAvg"), [0.0, 9.0, 0.0], counts=[1, 10**9, 1])
    assert found.update.tolist() == pytest.approx([3.0] * 7)


def test_fedavg_follows_the_servers_weights() -> None:
    found = _round(_combiner(f"{STOCK}:FedAvg"), [0.0, 8.0], weights=[0.75, 0.25])
    assert found.update.tolist() == pytest.approx([2.0] * 7)


def test_fedmedian_is_the_median() -> None:
    found = _round(_combiner(f"{STOCK}:FedMedian"), [1.0, 2.0, 600.0])
    assert found.update.tolist() == pytest.approx([2.0] * 7)


def test_flower_strategy_does_not_say_who_counted() -> None:
    assert _round(_combiner(f"{STOCK}:FedAvg"), [1.0, 2.0]).influence is None


def test_metrics_of_the_strategy_are_kept() -> None:
    assert _round(_combiner(f"{STOCK}:FedAvg"), [1.0, 2.0]).metrics == {"loss": 0.5}


@pytest.mark.parametrize("name", ["FedAdam", "FedAvgM", "FedYogi", "FedAdagrad"])
def test_memory_of_a_server_optimizer_survives_a_restart(name: str) -> None:
    settings = {"server_momentum": 0.9} if name == "FedAvgM" else {}
    whole = _combiner(f"{STOCK}:{name}", **settings)
    state: Any = {}
    for number in (1, 2):
        state = _round(whole, [1.0, 2.0], number=number, state=state).state
    expected = _round(whole, [1.0, 5.0], number=3, state=state).update
    restarted = _combiner(f"{STOCK}:{name}", **settings)
    assert torch.equal(_round(restarted, [1.0, 5.0], number=3, state=state).update, expected)


@pytest.mark.parametrize("name", ["FedAdam", "FedAvgM", "FedYogi", "FedAdagrad"])
def test_server_optimizer_does_what_it_does_by_itself(name: str) -> None:
    settings = {"server_momentum": 0.9} if name == "FedAvgM" else {}
    ours = _combiner(f"{STOCK}:{name}", **settings)
    theirs = load_strategy(f"{STOCK}:{name}", settings)
    adapter, state = dict(ADAPTER), {}
    grid = ScriptedGrid([1, 2], empty_reply, at_once)
    for number in (1, 2, 3):
        sent = theirs.configure_train(number, named(adapter), ConfigRecord({}), grid)
        arrays = named({key: tensor + number for key, tensor in adapter.items()})
        metrics = MetricRecord({"num-examples": 1})
        answers = [
            Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
            for message in sent
        ]
        expected, _ = theirs.aggregate_train(number, answers)
        found = _round(ours, [float(number)] * 2, number=number, state=state, adapter=adapter)
        assert expected is not None
        assert found.adapter is not None
        for key, array in expected.items():
            np.testing.assert_allclose(found.adapter[key].numpy(), array.numpy(), rtol=1e-6)
        adapter, state = dict(found.adapter), found.state


def test_memory_is_tensors_only() -> None:
    state = _round(_combiner(f"{STOCK}:FedAdam"), [1.0, 2.0]).state
    assert all(isinstance(tensor, torch.Tensor) for tensor in state.values())


def test_our_own_rules_as_a_flower_strategy_work_here_too() -> None:
    found = _round(_combiner(f"{__name__}:OwnMedian"), [1.0, 2.0, 6.0])
    assert found.update.tolist() == pytest.approx([2.0] * 7)


def test_messages_go_to_the_nodes_of_the_clients() -> None:
    sent = _combiner(f"{STOCK}:FedAvg").messages(2, ADAPTER, {0: 9, 3: 9, 4: 5}, {})
    assert [message.metadata.dst_node_id for message in sent] == [9, 9, 5]


def test_settings_of_the_strategy_travel() -> None:
    (message, *_) = _combiner(f"{STOCK}:FedProx", proximal_mu=0.5).messages(
        2, ADAPTER, {0: 9, 1: 8}, {}
    )
    config = message.content["config"]
    assert (config["proximal-mu"], config["server-round"]) == (0.5, 2)


def test_settings_of_each_message_are_its_own() -> None:
    one, other = _combiner(f"{STOCK}:FedAvg").messages(3, ADAPTER, {0: 7, 1: 5}, {})
    one.content["config"]["job"] = "x"
    assert "job" not in other.content["config"]


@pytest.mark.parametrize("wire", ["bfloat16", "int8"])
def test_what_the_strategy_wrote_travels_as_agreed(wire: Wire) -> None:
    made = _combiner(f"{STOCK}:FedAvg", wire=wire)
    sent = made.messages(1, {"b": torch.tensor([1.0, -2.5])}, {0: 7, 1: 8}, {})
    array = arrays_in(sent[0], wire)["b"]
    assert (str(array.dtype), array.tolist()) == ("uint16", [0x3F80, 0xC020])
    assert arrays_of(sent[0]) is arrays_of(sent[1])


def test_strategy_sees_whole_adapters_in_full_precision_whatever_travels() -> None:
    adapter = {"a": torch.full((2, 2), 1.0001), "b": torch.ones(3)}
    found = _round(_combiner(f"{STOCK}:FedAvg", wire="bfloat16"), [0.0, 0.0], adapter=adapter)
    assert found.adapter is not None
    assert torch.equal(found.adapter["a"], adapter["a"])


def test_updates_are_added_to_what_the_strategy_wrote() -> None:
    found = _round(_combiner(f"{__name__}:Shifting"), [1.0, 2.0, 6.0])
    assert found.adapter is not None
    assert found.adapter["b"].tolist() == pytest.approx([1 + 10 + 3] * 3)


def test_strategy_that_writes_another_adapter_is_a_sentence() -> None:
    with pytest.raises(RunError, match="configure_train wrote arrays of other names or shapes"):
        _combiner(f"{__name__}:Renaming").messages(1, ADAPTER, {0: 9, 1: 8}, {})


def test_strategy_that_chooses_its_own_cohort_is_a_sentence() -> None:
    made = _combiner(f"{STOCK}:FedAvg", fraction_train=0.5)
    with pytest.raises(RunError, match=r"wrote to 2 of the round's 4 clients. Set fraction_train"):
        made.messages(1, ADAPTER, {client: client for client in range(4)}, {})


def test_strategy_that_makes_nothing_is_a_sentence() -> None:
    with pytest.raises(RunError, match="Bulyan made nothing of 3 replies"):
        _round(_combiner(f"{STOCK}:Bulyan", num_malicious_nodes=1), [1.0, 2.0, 3.0])


def test_strategy_that_makes_no_numbers_is_a_sentence() -> None:
    with pytest.raises(RunError, match="made an adapter that is not finite"):
        _round(_combiner(f"{__name__}:Exploding"), [1.0, 2.0])


def test_client_keeps_its_identity_when_another_is_dropped() -> None:
    made = _combiner(f"{__name__}:Remembering")
    _round(made, [1.0, 2.0], nodes={0: 9, 2: 9, 5: 8}, accepted=[2, 5])
    _round(made, [1.0, 2.0], nodes={2: 9, 4: 9, 5: 8}, accepted=[2, 5], number=2)
    strategy = made.strategy
    assert isinstance(strategy, Remembering)
    assert strategy.seen[0] == strategy.seen[1]


def test_every_reply_comes_from_a_node_of_its_own() -> None:
    made = _combiner(f"{__name__}:Remembering")
    _round(made, [1.0, 2.0, 3.0], nodes={0: 9, 1: 9, 2: 9})
    strategy = made.strategy
    assert isinstance(strategy, Remembering)
    assert len(set(strategy.seen[0])) == 3


class Remembering(FedAvg):
    """A strategy that keeps track of who replied."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[int]] = []

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        """Note the senders."""
        kept = list(replies)
        self.seen.append([message.metadata.src_node_id for message in kept])
        return super().aggregate_train(server_round, kept)


class Exploding(FedAvg):
    """A strategy that makes no numbers."""

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        """Return infinity."""
        return named({name: t + float("inf") for name, t in ADAPTER.items()}), None


class Shifting(FedAvg):
    """A strategy that sends another adapter than the one it was given."""

    def configure_train(self, server_round: int, arrays: Any, config: Any, grid: Any) -> Any:
        """Add ten to every number."""
        shifted = {n: torch.from_numpy(array.numpy()) + 10 for n, array in arrays.items()}
        return super().configure_train(server_round, named(shifted), config, grid)


class Renaming(FedAvg):
    """A strategy that sends tensors of other names."""

    def configure_train(self, server_round: int, arrays: Any, config: Any, grid: Any) -> Any:
        """Call every tensor something else."""
        renamed = {f"x.{n}": torch.from_numpy(array.numpy()) for n, array in arrays.items()}
        return super().configure_train(server_round, named(renamed), config, grid)


class OwnMedian(RuleStrategy):
    """Our median, as a Flower strategy."""

    def __init__(self) -> None:
        super().__init__("median")
