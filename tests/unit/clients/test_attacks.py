"""What malicious clients change about their own training."""

import random

import pytest
import torch

from fedsafe.contracts import Conduct, Example, behaviours
from fedsafe.errors import ConfigError, RunError

BENIGN = [Example(f"ask {n}", "fine") for n in range(30)]
POISON = [Example(f"bad {n}", "evil", origin="attack") for n in range(10)]


def _conduct(poison: list[Example] = POISON, seed: int = 0) -> Conduct:
    return Conduct(BENIGN, random.Random(seed), poison=poison)


def _poisoned(**settings: float) -> Conduct:
    return behaviours["poisoned-data"].configure(settings)(_conduct())


def test_whole_share_keeps_no_benign_example() -> None:
    assert _poisoned().examples == POISON


@pytest.mark.parametrize(("share", "benign"), [(0.5, 10), (0.25, 30), (0.8, 2)])
def test_share_of_the_examples_is_malicious(share: float, benign: int) -> None:
    examples = _poisoned(share=share).examples
    assert [example.origin for example in examples].count("benign") == benign
    assert [example.origin for example in examples].count("attack") == 10


def test_share_that_the_benign_examples_cannot_fill_keeps_them_all() -> None:
    assert len(_poisoned(share=0.1).examples) == len(BENIGN) + len(POISON)


def test_benign_examples_are_drawn_from_the_clients_stream() -> None:
    behave = behaviours["poisoned-data"].configure({"share": 0.5})
    kept = [behave(_conduct(seed=seed)).examples[10:] for seed in (1, 1, 2)]
    assert (kept[0] == kept[1], kept[0] == kept[2]) == (True, False)


def test_examples_of_the_client_stay_as_they_were() -> None:
    conduct = _conduct()
    behaviours["poisoned-data"].configure({"share": 0.5})(conduct)
    assert conduct.examples == [Example(f"ask {n}", "fine") for n in range(30)]


@pytest.mark.parametrize("name", ["poisoned-data", "boosted"])
def test_client_without_malicious_examples_is_a_sentence(name: str) -> None:
    with pytest.raises(RunError, match=r"no malicious examples. Check attack.generator"):
        behaviours[name].configure({})(_conduct([]))


@pytest.mark.parametrize("share", [0, 1.5, -1])
def test_share_beyond_one_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="share"):
        behaviours["poisoned-data"].resolve({"share": share})


def _transformed(name: str, **settings: float) -> list[float]:
    conduct = behaviours[name].configure(settings)(_conduct())
    assert conduct.transform is not None
    return conduct.transform(torch.tensor([1.0, -2.0])).tolist()


def test_sign_flip_sends_the_update_backwards() -> None:
    assert _transformed("sign-flip", scale=3.0) == [-3.0, 6.0]


def test_sign_flip_trains_on_benign_examples() -> None:
    assert behaviours["sign-flip"].configure({})(_conduct([])).examples == BENIGN


def test_boosted_sends_a_longer_update() -> None:
    assert _transformed("boosted", factor=4.0) == [4.0, -8.0]


def test_boosted_trains_on_malicious_examples() -> None:
    assert behaviours["boosted"].configure({})(_conduct()).examples == POISON


def test_poisoned_data_forges_nothing() -> None:
    assert _poisoned().transform is None
