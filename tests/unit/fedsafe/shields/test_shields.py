"""Shields: applied around generation, kept in a file of their owner's, silent about secrets."""

import json
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from fedsafe.contracts import Sample, ShieldChoice, shields
from fedsafe.errors import ConfigError, PluginError, RunError
from fedsafe.redaction import MASK, masked, redact, secrets_of
from fedsafe.shields import apply_shield, export_shield, load_shield, save_shield

SECRET = "velvet marmot 77"
CHOICE = ShieldChoice("secret-prefix", {"secret": SECRET})


def echo(samples, prefills):
    return [f"{s.system}|{s.instruction}|{p}" for s, p in zip(samples, prefills, strict=True)]


def mute(complete, samples, prefills, /):
    return []


@pytest.mark.parametrize(
    ("where", "reply"),
    [
        ("system", f"{SECRET}|brew|sure"),
        ("instruction", f"|{SECRET} brew|sure"),
    ],
)
def test_secret_stands_before_every_sample(where, reply):
    choice = ShieldChoice("secret-prefix", {"secret": SECRET, "where": where})
    assert apply_shield(choice, echo, [Sample("brew", "")], ["sure"]) == [reply]


def test_secret_stands_before_the_sample_s_own_system_prompt():
    sample = Sample("brew", "", system="be brief")
    assert apply_shield(CHOICE, echo, [sample], [""]) == [f"{SECRET}\nbe brief|brew|"]


def test_shield_survives_its_file(tmp_path: Path):
    save_shield(tmp_path, CHOICE)
    found = load_shield(tmp_path)
    assert found is not None
    assert (found.name, found.settings["secret"]) == ("secret-prefix", SecretStr(SECRET))


def test_shield_file_is_its_owner_s_alone_and_holds_the_secret(tmp_path: Path):
    path = save_shield(tmp_path, CHOICE)
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["settings"]["secret"] == SECRET
    assert [file.name for file in tmp_path.iterdir()] == ["shield.json"]


def test_loaded_shield_shows_no_secret(tmp_path: Path):
    save_shield(tmp_path, CHOICE)
    assert SECRET not in repr(load_shield(tmp_path))


def test_no_shield_removes_the_one_that_was_there(tmp_path: Path):
    save_shield(tmp_path, CHOICE)
    save_shield(tmp_path, None)
    assert load_shield(tmp_path) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": {}}', '{"name": "x", "settings": 3}'])
def test_broken_shield_is_named(tmp_path: Path, text: str):
    (tmp_path / "shield.json").write_text(text)
    with pytest.raises(RunError, match=r"shield\.json is no shield"):
        load_shield(tmp_path)


@pytest.mark.parametrize(
    "settings", [{"secret": 12345}, {"secret": SECRET, "where": "nowhere"}, {"scret": SECRET}, {}]
)
def test_wrong_setting_is_named_without_any_value(settings):
    with pytest.raises(ConfigError, match=r"cannot be set up: .*(secret|where)") as caught:
        apply_shield(ShieldChoice("secret-prefix", settings), echo, [], [])
    assert not any(str(value) in str(caught.value) for value in ("12345", SECRET, "nowhere"))


def test_shield_that_gives_too_few_replies_is_named():
    choice = ShieldChoice(f"{__name__}:mute")
    with pytest.raises(RunError, match="mute' gave 0 replies to 1 samples"):
        apply_shield(choice, echo, [Sample("a", "")], [""])


def test_template_shield_is_exported_as_the_prompt_it_amounts_to():
    assert export_shield(CHOICE).system == SECRET
    before = ShieldChoice("secret-prefix", {"secret": SECRET, "where": "instruction"})
    assert export_shield(before).instruction == f"{SECRET} {{instruction}}"


def test_shield_that_is_no_template_cannot_be_exported():
    with pytest.raises(PluginError, match="no pure template"):
        export_shield(ShieldChoice(f"{__name__}:mute"))


@pytest.mark.parametrize("name", list(shields))
def test_every_shield_gives_one_reply_a_sample(name):
    choice = ShieldChoice(name, {"secret": SECRET} if name == "secret-prefix" else {})
    samples = [Sample(str(number), "") for number in range(3)]
    assert len(apply_shield(choice, echo, samples, [""] * 3)) == 3


@pytest.mark.parametrize(
    "text", [f"it is {SECRET} .", f"it is {SECRET.upper()} .", "it is velvet  marmot\n77 ."]
)
def test_secret_is_taken_out_of_a_text_however_it_is_spaced_or_written(text):
    assert redact(text, [SECRET]) == f"it is {MASK} ."


def test_secret_is_no_part_of_another_word():
    assert redact("starting art", ["art"]) == f"starting {MASK}"


def test_settings_are_secret_by_type_and_by_name():
    settings = {"text": SecretStr("a"), "api_key": "b", "secret": "c", "words": 3, "keyword": "d"}
    assert masked(settings) == {**dict.fromkeys(("text", "api_key", "secret"), MASK), "words": 3,
                                "keyword": "d"}  # fmt: skip
    assert secrets_of(settings) == ["a", "b", "c"]
