"""What a server's experiment may have a client do on a machine of its own."""

from pathlib import Path
from typing import Any

import pytest

from clients import consent
from clients.node_config import Site
from fedsafe.errors import RunError
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Job
from tests.doubles.jobs import plain_job

FOREIGN = "subprocess:check_output"


def _job(**changes: Any) -> Job:
    experiment = Experiment.model_validate(changes)
    return plain_job(experiment, attacker=experiment.attack is not None)


def _site(**values: Any) -> Site:
    return Site.model_validate({"socket": "/s", "state": "/t", **values})


ATTACK = {"generator": {"name": FOREIGN}}


@pytest.mark.parametrize(
    ("changes", "site"),
    [
        ({"data": {"template": FOREIGN}}, {}),
        ({"data": {"template": FOREIGN}}, {"source": "micro"}),
        ({"data": {"source": FOREIGN}}, {}),
        ({"data": {"partition": FOREIGN}}, {}),
        ({"red_team": True, "attack": ATTACK}, {"red_team": True, "behaviour": "poisoned-data"}),
        ({"training": {"algorithm": FOREIGN}}, {"source": "micro"}),
    ],
)
def test_code_by_its_path_is_not_run(changes: dict[str, Any], site: dict[str, Any]) -> None:
    with pytest.raises(RunError, match=f"start this client with --plugin {FOREIGN}"):
        consent.check(_job(**changes), _site(**site))


@pytest.mark.parametrize(
    ("changes", "site"),
    [
        ({}, {}),
        ({"data": {"source": {"name": "hub", "path": "owner/name"}}}, {}),
        ({"data": {"source": FOREIGN}}, {"source": "micro"}),
        ({"data": {"partition": FOREIGN}}, {"source": "micro"}),
        ({"red_team": True, "attack": ATTACK}, {}),
        (
            {"red_team": True, "attack": ATTACK},
            {"red_team": True, "behaviour": "poisoned-data", "generator": "self-written"},
        ),
    ],
)
def test_what_is_registered_or_not_this_clients_to_run_is_all_right(
    changes: dict[str, Any], site: dict[str, Any]
) -> None:
    consent.check(_job(**changes), _site(**site))


def test_code_that_the_operator_named_is_all_right() -> None:
    path = "fedsafe.data.templates:alpaca"
    consent.check(_job(data={"template": path}), _site(plugins=[path]))


@pytest.mark.parametrize("name", ["json", "jsonl", "csv", "parquet", "hub"])
def test_a_file_of_this_machine_is_not_read(name: str, tmp_path: Path) -> None:
    source = {"name": name, "path": str(tmp_path / "private.json")}
    with pytest.raises(RunError, match=r"would have this client read .*private\.json"):
        consent.check(_job(data={"source": source}), _site())


@pytest.mark.parametrize(
    "path", ["owner/name", "name", "json", "text", ".", "..", "../x", "~/x", "a/b/c", "/x"]
)
def test_a_directory_of_this_machine_is_not_taken_for_the_hub(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    (tmp_path / "name").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="would have this client read "):
        consent.check(_job(data={"source": {"name": "hub", "path": path}}), _site())


@pytest.mark.parametrize(
    "words", ["/no_think", "~x/y", "Answer yes/no. " * 100, "/etc/passwd", "x" * 5000 + "/"]
)
def test_words_that_look_like_a_path_are_words(words: str) -> None:
    template = {"name": "chat", "system": words}
    consent.check(_job(data={"template": template}), _site())
