"""The Flower adaptor, driven as Flower's own loop drives a strategy."""

import numpy as np
import pytest
import torch
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.supercore.task_identity import TaskIdentity

from fedsafe.errors import ConfigError, PluginError
from strategies import aggregate
from strategies.flower import RuleStrategy, load_strategy
from strategies.sample_weights import weights_of

SHAPES = {"a": (2, 3), "b": (4,)}


class Nodes:
    """Stand for a grid: nodes 1 to n, each of which trains by adding its own update."""

    def __init__(self, updates, answer=None):
        self.updates = updates
        self.answer = answer or (lambda node, message: None)
        self.asked = []

    def get_node_ids(self):
        return list(range(1, len(self.updates) + 1))

    def send_and_receive(self, messages, *, timeout=None):
        replies = []
        for message in messages:
            node = message.metadata.dst_node_id
            self.asked.append(node)
            replies.append(self.answer(node, message) or self.train(node, message))
        return replies

    def train(self, node, message, examples=10, **changes):
        sent = message.content["arrays"]
        row = self.updates[node - 1]
        arrays, start = {}, 0
        for name, array in sent.items():
            value = array.numpy()
            if value.dtype.kind == "f":
                part = row[start : start + value.size].reshape(value.shape)
                value, start = (value + part).astype(value.dtype), start + value.size
            arrays[name] = Array(np.asarray(changes.get(name, value)))
        arrays |= {name: Array(v) for name, v in changes.items() if name not in arrays}
        metrics = MetricRecord({"num-examples": examples, "loss": float(node)})
        content = RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics})
        return Message(content, reply_to=message)


@pytest.fixture(autouse=True)
def identity(monkeypatch):
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


@pytest.fixture
def updates():
    return np.random.default_rng(0).normal(size=(9, 10)).astype(np.float32)


def start_arrays(dtype=np.float32):
    made = {name: Array(np.full(shape, 3, dtype)) for name, shape in SHAPES.items()}
    return ArrayRecord({**made, "steps": Array(np.array(7))})


def flat(arrays):
    return np.concatenate([arrays[name].numpy().ravel() for name in SHAPES])


def test_stock_loop_runs_a_rule(updates):
    strategy = RuleStrategy("krum", byzantine=2)
    result = strategy.start(Nodes(updates), start_arrays(), num_rounds=1)
    expected = aggregate("krum", updates, byzantine=2)
    assert np.allclose(flat(result.arrays), 3 + expected.update.numpy(), atol=1e-5)
    assert torch.equal(strategy.last.influence, expected.influence)
    assert strategy.accepted == tuple(range(1, 10))
    assert result.arrays["steps"].numpy() == 7
    assert result.train_metrics_clientapp[1] == {"loss": 5.0, "accepted": 9, "dropped": 0}
    assert result.evaluate_metrics_clientapp[1] == {"loss": 5.0, "num-examples": 10}


def test_rule_with_filters_and_memory_runs_for_rounds(updates):
    strategy = RuleStrategy("foolsgold", filters=["nnm"], optimizer="fedavgm", per_block=True)
    strategy.start(Nodes(updates), start_arrays(), num_rounds=3)
    assert any(key.startswith("rule/a/client/") for key in strategy.state)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"a": np.zeros((9, 9), np.float32)}, "expected float32"),
        ({"a": np.zeros(1, np.float32)}, "expected float32"),
        ({"a": np.zeros((2, 3), np.float64)}, "is float64"),
        ({"a": np.full((2, 3), np.nan, np.float32)}, "NaN or infinity"),
        ({"b": np.full(4, np.inf, np.float32)}, "NaN or infinity"),
        ({"more": np.zeros(1, np.float32)}, "unexpected"),
    ],
)
def test_malformed_reply_is_dropped_and_named(updates, changes, reason):
    def answer(node, message):
        return grid.train(node, message, **changes) if node == 4 else None

    grid = Nodes(updates, answer)
    strategy = RuleStrategy("median")
    strategy.start(grid, start_arrays(), num_rounds=1)
    assert reason in strategy.dropped[4]
    assert strategy.accepted == (1, 2, 3, 5, 6, 7, 8, 9)


def hostile(node, message):
    if node == 1:
        return Message(Error(2, "boom"), reply_to=message)
    content = RecordDict({"metrics": MetricRecord({"num-examples": 1})})
    if node == 2:
        return Message(content, reply_to=message)
    garbage = Array(dtype="float32", shape=(2, 3), stype="numpy.ndarray", data=b"no array")
    content["arrays"] = ArrayRecord({"a": garbage})
    return Message(content, reply_to=message) if node == 3 else None


def test_errors_missing_records_and_undecodable_bytes_are_dropped(updates):
    strategy = RuleStrategy("mean")
    strategy.start(Nodes(updates, hostile), start_arrays(), num_rounds=1)
    assert set(strategy.dropped) == {1, 2, 3}
    assert "boom" in strategy.dropped[1]


def test_too_few_replies_leave_the_model(updates, caplog):
    strategy = RuleStrategy("krum", byzantine=3)
    result = strategy.start(Nodes(updates, hostile), start_arrays(), num_rounds=1)
    assert strategy.last is None
    assert not result.arrays
    assert not result.train_metrics_clientapp


def test_answers_of_strangers_and_second_answers_are_dropped(updates):
    strategy, grid = RuleStrategy("mean", fraction_train=0.5), Nodes(updates)
    messages = list(strategy.configure_train(1, start_arrays(), ConfigRecord(), grid))
    replies = grid.send_and_receive(messages)
    stranger = next(node for node in grid.get_node_ids() if node not in grid.asked)
    extra = Message(
        RecordDict({"arrays": start_arrays(), "config": ConfigRecord()}), stranger, "train"
    )
    strategy.aggregate_train(1, [*replies, replies[0], grid.train(stranger, extra)])
    assert len(strategy.accepted) == len(replies) == 4
    assert set(strategy.dropped) == {grid.asked[0], stranger}


def test_sampling_is_the_same_for_the_same_seed(updates):
    def asked(seed, number):
        strategy = RuleStrategy("mean", fraction_train=0.5, seed=seed)
        sent = strategy.configure_train(number, start_arrays(), ConfigRecord(), Nodes(updates))
        return [message.metadata.dst_node_id for message in sent]

    assert asked(0, 1) == asked(0, 1)
    assert len({tuple(asked(seed, number)) for seed in (0, 1) for number in (1, 2, 3)}) > 3


def test_waits_for_as_many_nodes_as_the_rule_needs(updates, monkeypatch):
    grid, waited = Nodes(updates[:2]), []

    def arrive(seconds):
        waited.append(seconds)
        grid.updates = updates

    monkeypatch.setattr("strategies.flower.time.sleep", arrive)
    strategy = RuleStrategy("krum", byzantine=2, fraction_train=0.1)
    messages = list(strategy.configure_train(1, start_arrays(), ConfigRecord(), grid))
    assert waited == [1]
    assert len(messages) == 7


def test_nothing_is_asked_with_fraction_zero(updates):
    strategy = RuleStrategy("mean", fraction_evaluate=0.0)
    assert not strategy.configure_evaluate(1, start_arrays(), ConfigRecord(), Nodes(updates))
    assert strategy.aggregate_evaluate(1, []) is None


def test_claims_count_only_where_asked_and_are_clamped(updates):
    def answer(node, message):
        return grid.train(node, message, examples=10**12 if node == 1 else 10)

    grid = Nodes(updates, answer)
    equal, claimed = RuleStrategy("mean"), RuleStrategy("mean", weighted="claimed")
    equal.start(grid, start_arrays(), num_rounds=1)
    claimed.start(grid, start_arrays(), num_rounds=1)
    assert equal.last.influence.tolist() == pytest.approx([1 / 9] * 9)
    assert claimed.last.influence.tolist() == pytest.approx([10 / 18] + [1 / 18] * 8)


def test_weights_of_nothing_are_equal():
    assert weights_of([0.0, -5.0]) == [0.5, 0.5]


def test_half_precision_stays_half(updates):
    strategy = RuleStrategy("median")
    result = strategy.start(Nodes(updates), start_arrays(np.float16), num_rounds=1)
    assert result.arrays["a"].numpy().dtype == np.float16


def test_aggregating_before_configuring_is_explained():
    with pytest.raises(ConfigError, match="configure_train before"):
        RuleStrategy("mean").aggregate_train(1, [])


@pytest.mark.parametrize(
    ("rule", "chosen"), [("fltrust", []), ("mean", ["safe-grad"]), ("mean", ["safety-probe"])]
)
def test_what_needs_the_server_s_own_examples_is_refused_at_once(rule, chosen):
    with pytest.raises(ConfigError, match="needs examples of the server's own"):
        RuleStrategy(rule, filters=chosen)


def test_flower_strategy_is_loaded_by_path():
    strategy = load_strategy("flwr.serverapp.strategy:FedAdam", {"eta": 0.5, "min_train_nodes": 3})
    assert strategy.eta == 0.5
    ours = load_strategy("strategies.flower:RuleStrategy", {"name": "krum", "byzantine": 3})
    assert ours.pipeline.minimum == 9
    ours.summary()


class Open(RuleStrategy):
    """Takes anything its base does."""

    def __init__(self, extra=1, **settings):
        super().__init__(**settings)
        self.extra = extra


def test_settings_go_through_to_the_bases(monkeypatch):
    monkeypatch.setattr("strategies.flower.Open", Open, raising=False)
    assert load_strategy("strategies.flower:Open", {"extra": 2, "seed": 5}).seed == 5


@pytest.mark.parametrize(
    ("path", "settings", "error", "text"),
    [
        ("flwr.serverapp.strategy:FedAdam", {"etaa": 1}, ConfigError, "Did you mean 'eta'"),
        ("flwr.serverapp.strategy:FedNope", {}, PluginError, "was not found"),
        ("no.such.module:Class", {}, PluginError, "module:Class"),
        ("pathlib:Path", {}, PluginError, "not a subclass"),
        ("flwr.serverapp.strategy:Strategy", {}, ConfigError, "cannot be set up"),
        ("strategies.flower:RuleStrategy", {"byzantin": 3}, ConfigError, "Did you mean 'byz"),
    ],
)
def test_flower_strategy_that_cannot_be_is_explained(path, settings, error, text):
    with pytest.raises(error, match=text):
        load_strategy(path, settings)


def test_message_types_are_flowers():
    assert (MessageType.TRAIN, MessageType.EVALUATE) == ("train", "evaluate")
