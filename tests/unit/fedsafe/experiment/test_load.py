"""From preset, file or mapping to one checked experiment; every problem at once."""

import io
from pathlib import Path

import pytest
import yaml

from fedsafe.errors import ConfigError
from fedsafe.experiment.load import as_yaml, load, presets, read_preset, validate


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", presets())
def test_resolved_experiment_loads_back_equal(name: str) -> None:
    experiment = load(name)
    assert validate(yaml.safe_load(as_yaml(experiment))) == experiment


@pytest.mark.parametrize("name", presets())
def test_preset_may_be_copied_to_a_file(name: str, tmp_path: Path) -> None:
    assert load(_file(tmp_path, read_preset(name))) == load(name)


def test_unknown_preset_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no preset 'mircro'. Did you mean 'micro'\?"):
        load("mircro")


@pytest.mark.parametrize("reference", ["my.yaml", "some/where", "/no/such.yml"])
def test_file_that_is_missing_is_not_taken_for_a_preset(reference: str) -> None:
    with pytest.raises(ConfigError, match="no experiment file at"):
        load(reference)


def test_run_directory_is_a_reference(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(as_yaml(load("micro")), encoding="utf-8")
    assert load(tmp_path) == load("micro")


def test_empty_directory_is_no_experiment(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no experiment file at"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\tx: 1", "a: !!python/object:x.y {}"])
def test_broken_yaml_names_the_file(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"my\.yaml is not YAML"):
        load(_file(tmp_path, text))


def test_file_that_is_not_text_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(ConfigError, match=r"my\.yaml is not YAML"):
        load(path)


@pytest.mark.parametrize("text", ["- 1", "word", "3"])
def test_yaml_that_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must hold a mapping of settings"):
        load(_file(tmp_path, text))


@pytest.mark.parametrize("text", ["", "# only words\n", "---\n", "null"])
def test_empty_file_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="mapping of settings, such as `preset: micro`; it is empty"
    ):
        load(_file(tmp_path, text))


def test_empty_mapping_is_the_default_experiment(tmp_path: Path) -> None:
    assert load(_file(tmp_path, "{}")).federation.clients == 10


def test_problems_come_all_at_once_with_dotted_paths(tmp_path: Path) -> None:
    text = "seeed: 1\ntraining: {steps: 0, learning_rate: fast}\nadapter: {rnk: 3}\n"
    with pytest.raises(ConfigError) as caught:
        load(_file(tmp_path, text))
    lines = str(caught.value).splitlines()
    assert "has 4 problems" in lines[0]
    assert sorted(line.split(":")[0].strip() for line in lines[1:]) == [
        "adapter.rnk",
        "seeed",
        "training.learning_rate",
        "training.steps",
    ]


def test_mistyped_key_suggests_among_its_neighbours(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"adapter\.rnk: .*Did you mean 'rank'\? Known here: rank"
    ):
        load(_file(tmp_path, "adapter: {rnk: 3}"))


def test_plugin_problems_come_all_at_once_with_dotted_paths(tmp_path: Path) -> None:
    text = (
        "data: {source: {name: micro, cont: 3}, template: chatt}\n"
        "federation: {strategy: {name: krum, byzantine: -1}}\n"
        "evaluation: {suites: [micro, {name: micro, harmful: many}]}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(_file(tmp_path, text))
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        "data.source.cont",
        "data.template.name",
        "evaluation.suites[1].harmful",
        "federation.strategy.byzantine",
    ]


def test_preset_key_inherits_what_the_file_leaves_out(tmp_path: Path) -> None:
    found = load(_file(tmp_path, "preset: micro\nfederation: {rounds: 2}\n"))
    micro = load("micro")
    changed = micro.federation.model_copy(update={"rounds": 2})
    assert found == micro.model_copy(update={"federation": changed})


def test_preset_key_may_name_a_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("preset: micro\nseed: 5\n", encoding="utf-8")
    found = load(_file(tmp_path, f"preset: {tmp_path / 'base.yaml'}\nname: mine\n"))
    assert (found.seed, found.name, found.red_team) == (5, "mine", True)


def test_preset_key_that_names_nothing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no preset 'mikro'"):
        load(_file(tmp_path, "preset: mikro\n"))


def test_preset_that_names_itself_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    with pytest.raises(ConfigError, match="inherits from itself"):
        load(_file(tmp_path, f"preset: {path}\n"))


def test_preset_key_of_another_plugin_drops_the_old_settings(tmp_path: Path) -> None:
    found = load(_file(tmp_path, "preset: micro\ndata: {source: {name: jsonl, path: x.jsonl}}\n"))
    assert found.data.source.settings == {"path": "x.jsonl"}


def test_preset_key_keeps_settings_where_no_plugin_is_named(tmp_path: Path) -> None:
    found = load(_file(tmp_path, "preset: micro\ndata: {source: {count: 2000}}\n"))
    assert found.data.source == load("micro").data.source.model_copy(update={"count": 2000})


def test_preset_key_adds_settings_to_a_plugin_given_by_name_alone(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("federation: {strategy: krum}\n", encoding="utf-8")
    text = f"preset: {tmp_path / 'base.yaml'}\nfederation: {{strategy: {{byzantine: 2}}}}\n"
    choice = load(_file(tmp_path, text)).federation.strategy
    assert (choice.name, choice.settings) == ("krum", {"byzantine": 2})


def test_headline_of_each_preset_is_a_sentence() -> None:
    assert all(headline.endswith(".") for headline in presets().values())


@pytest.mark.parametrize("value", [float("inf"), {"deep": [float("nan")]}, {1, 2}, b"x"])
def test_setting_that_no_file_can_hold_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"data\.source: setting 'x': expected"):
        validate({"data": {"source": {"name": "micro", "x": value}}})


def test_experiment_comes_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("preset: micro\nseed: 5\n"))
    assert load("-").seed == 5


def test_experiment_comes_from_a_mapping() -> None:
    assert load({"seed": 5}, ["seed=6"]).seed == 6


def test_directory_named_like_a_preset_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "micro").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load("micro-quick").name == "micro-quick"
