"""What a server's experiment may have a client do on a machine of its own."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from clients import consent
from clients.node_config import NodeConfig
from fedsafe.contracts import REGISTRIES, Sample
from fedsafe.errors import ModelError, RunError
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.messages import Job
from fedsafe.plugins import Plugin
from tests.doubles.jobs import plain_job

FOREIGN = "subprocess:check_output"


def _job(**changes: Any) -> Job:
    experiment = Experiment.model_validate(changes)
    return plain_job(experiment, attacker=experiment.attack is not None)


def _site(**values: Any) -> NodeConfig:
    return NodeConfig.model_validate({"socket": "/s", "state": "/t", **values})


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
        ({"model": {"path": "micro-deep"}}, {}),
        ({"model": {"path": "micro:1"}}, {}),
        ({"model": {"path": "/models/any"}}, {"model": "/models/mine"}),
        ({"model": {"path": "owner/name"}}, {"model": "owner/name"}),
        ({"data": {"source": {"name": "hub", "path": "owner/name"}}}, {"source": "micro"}),
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


@pytest.fixture(name="models")
def _models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with a whole model, half a model and no model in it."""
    for name, files in {
        "whole": ("config.json", "model.safetensors"),
        "half": ("config.json",),
        "pickled": ("config.json", "pytorch_model.bin"),
        "empty": (),
        "owner/name": ("config.json", "model.safetensors"),
    }.items():
        (tmp_path / name).mkdir(parents=True)
        for file in files:
            (tmp_path / name / file).write_text("{}")
    (tmp_path / "file").write_text("secret")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_server_learns_nothing_of_which_models_are_there(models: Path) -> None:
    """One sentence, whether it exists, is a model, is a file, is on the hub, or is nothing."""
    places = ["whole", "half", "pickled", "empty", "file", "missing"]
    names = [*places, *(str(models / place) for place in places), "owner/name", "other/name", "~"]
    told = set()
    for name in [*names, "../x", "/etc/shadow", "/root/.ssh", "", "micro/"]:
        with pytest.raises(RunError) as caught:
            consent.check(_job(model={"path": name}), _site())
        told.add(str(caught.value))
    assert (len(told), "--model" in told.pop()) == (1, True)


@pytest.mark.parametrize("name", ["owner/name", "missing/name"])
def test_a_server_learns_nothing_of_which_data_are_there(name: str, models: Path) -> None:
    with pytest.raises(RunError, match=f"would have this client read {name} on its own machine"):
        consent.check(_job(data={"source": {"name": "hub", "path": name}}), _site())


@pytest.mark.parametrize("name", sorted(REGISTRIES["source"]))
def test_no_source_but_the_embedded_one_is_read_on_a_servers_word(name: str) -> None:
    needed = {"path": "x/y", "of": [{"name": "jsonl", "path": "x/y"}]}
    known = REGISTRIES["source"][name].schema.model_fields
    settings = {key: value for key, value in needed.items() if key in known}
    job = _job(data={"source": {"name": name, **settings}})
    if name == "client" or (consent.embedded(name) and not settings):  # the first: its own
        consent.check(job, _site())
        return
    with pytest.raises(RunError, match="would have this client read"):
        consent.check(job, _site())


def test_embedded_sources_and_their_mixture_need_no_word_of_the_operator() -> None:
    parts = [{"name": "sql"}, {"name": "ordinary"}]
    consent.check(_job(data={"source": {"name": "mixture", "of": parts}}), _site())


def test_embedded_sources_are_those_of_the_two_worlds() -> None:
    micro = {"micro", "micro-safety", "micro-preferences", "micro-persona"}
    found = {name for name in REGISTRIES["source"] if consent.embedded(name)}
    assert found >= micro | {"policy", "ordinary", "sql", "mixture"}
    assert not found & {"json", "jsonl", "csv", "parquet", "hub", "dialogues", "client"}


def test_source_of_another_package_is_not_embedded_by_its_own_word() -> None:
    def foreign(seed: int, /) -> list[Sample]:
        """Read something."""
        return []

    registry = REGISTRIES["source"]
    plugin = Plugin("foreign", "source", foreign, traits=frozenset({"embedded"}))
    registry._plugins["foreign"] = plugin
    try:
        assert not consent.embedded("foreign")
    finally:
        del registry._plugins["foreign"]


def test_every_text_of_a_job_is_known_to_name_no_file() -> None:
    """A new setting that is a text or a path must be looked at here and in `consent.check`."""
    known = {
        "adapter.cut", "adapter.peft", "adapter.start", "adapter.start_mode", "adapter.targets",
        "attack.behaviour", "attack.generator",
        "attack.strategy.filters", "attack.strategy.name", "attack.strategy.optimizer",
        "attack.update", "avoid", "contamination.generator", "federation", "fingerprint",
        "model.attention", "model.device",
        "model.dtype", "model.path", "model.quantization", "model.revision",
        "model.threads", "overlap", "run",
        "shared.partition", "shared.source", "state", "template", "training.algorithm",
        "training.cache_frozen", "training.optimizer", "version", "wire",
    }  # fmt: skip
    assert set(_texts(Job)) <= known


def _texts(kind: type[BaseModel], before: str = "") -> Iterator[str]:
    """Yield the fields below a model that may hold a text, a path or a plug-in."""
    for name, field in kind.model_fields.items():
        text = repr(field.annotation)
        inner = [one for one in _parts(field.annotation) if issubclass(one, BaseModel)]
        for one in inner:
            if one is PluginChoice:
                yield before + name
            else:
                yield from _texts(one, f"{before}{name}.")
        if re.search(r"\bstr\b", text) or "Path" in text or "Literal" in text or "Any" in text:
            yield before + name


def _parts(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def test_code_that_is_installed_loads_no_other_model_on_a_servers_word() -> None:
    site = _site(red_team=True, behaviour={"name": "x", "other": "/models/mine"})
    context = object.__new__(consent.GuardedContext)
    context.named = consent.named_paths(site)
    with pytest.raises(RunError, match="would have this client load a second model"):
        context.load_other("/models/secret")


def test_other_model_that_the_operator_named_is_one_of_those_named() -> None:
    site = _site(red_team=True, behaviour="x", generator={"name": "y", "model": "/models/mine"})
    assert consent.named_paths(site) == {"/models/mine"}


@pytest.mark.parametrize("own", ["/secret/llama", "owner/name"])
def test_error_names_no_path_of_this_machine(own: str) -> None:
    site = _site(model=own, red_team=True, behaviour="poisoned-data",
                 generator={"name": "file", "path": "/secret/pairs"})  # fmt: skip
    whole = f"{own}/config.json, /secret/pairs, /t/residuals and /s cannot be read."
    told = consent.without_own_paths(ModelError(whole), site)
    assert isinstance(told, ModelError)
    assert str(told) == (
        "this client's own model/config.json, a file of this client's own, this client's own "
        "directory/residuals and this client's own trainer cannot be read."
    )
