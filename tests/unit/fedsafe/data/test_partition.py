import random
from collections import Counter

import pytest

from fedsafe.contracts import Sample, partitions
from fedsafe.errors import DataError

EXAMPLES = [Sample(str(n), "x", topic=f"topic {n % 6}") for n in range(240)]
NAMES = ["iid", "dirichlet", "by-topic"]


def split(name, clients, seed=0, examples=EXAMPLES, **settings):
    return partitions[name].configure(settings)(examples, clients, random.Random(seed))


def skew(shares):
    """Return the mean share that its commonest topic has of a client's examples."""
    tops = [Counter(EXAMPLES[i].topic for i in share).most_common(1)[0][1] for share in shares]
    return sum(top / len(share) for top, share in zip(tops, shares, strict=True)) / len(shares)


@pytest.mark.parametrize("clients", [1, 4, 6, 10])
@pytest.mark.parametrize("name", NAMES)
def test_every_example_goes_to_one_client(name, clients):
    shares = split(name, clients)
    assert sorted(index for share in shares for index in share) == list(range(len(EXAMPLES)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", NAMES)
def test_no_client_is_left_empty(name, seed):
    assert all(split(name, 10, seed))


@pytest.mark.parametrize("name", NAMES)
def test_seed_decides(name):
    assert split(name, 4, 1) == split(name, 4, 1) != split(name, 4, 2)


@pytest.mark.parametrize("name", NAMES)
def test_fewer_examples_than_clients_is_said(name):
    with pytest.raises(DataError, match=r"2 examples for 3 clients.*at least one\. Use fewer"):
        split(name, 3, examples=EXAMPLES[:2])


@pytest.mark.parametrize("name", ["dirichlet", "by-topic"])
def test_missing_topics_are_said(name):
    with pytest.raises(DataError, match=r"have none\. Name the field"):
        split(name, 2, examples=[Sample("a", "b")] * 5)


def test_iid_shares_differ_in_size_by_one_at_most():
    sizes = {len(share) for share in split("iid", 7)}
    assert max(sizes) - min(sizes) <= 1


def test_dirichlet_is_the_more_skewed_the_smaller_alpha():
    skews = [skew(split("dirichlet", 6, alpha=alpha)) for alpha in (100.0, 1.0, 0.05)]
    assert skews == sorted(skews)


def test_dirichlet_survives_an_alpha_that_draws_zeros():
    assert all(split("dirichlet", 4, alpha=1e-6))


def test_dirichlet_keeps_the_minimum():
    assert min(map(len, split("dirichlet", 10, alpha=0.05, minimum=5))) == 5


def test_by_topic_keeps_topics_whole():
    shares = split("by-topic", 4)
    owners = [{client for client, share in enumerate(shares) for i in share if i % 6 == topic}
              for topic in range(6)]  # fmt: skip
    assert all(len(owner) == 1 for owner in owners)


def test_by_topic_gives_each_of_many_clients_one_topic():
    shares = split("by-topic", 10)
    assert {len({EXAMPLES[i].topic for i in share}) for share in shares} == {1}


def test_by_topic_says_when_a_topic_is_too_small_to_share():
    examples = [Sample("a", "b", topic="t")] * 5 + [Sample("a", "b", topic="u")]
    with pytest.raises(DataError, match=r"Topic 'u' has 1 examples for 2 clients"):
        split("by-topic", 4, examples=examples)
