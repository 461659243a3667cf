"""Generated data: the same bytes after an interruption, what is left out and why, the card."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from fedsafe.cli.entry import main
from fedsafe.contracts import Verdict
from fedsafe.data.text_signatures import TextSignatures
from fedsafe.errors import ConfigError, RunError
from fedsafe.micro import world
from fedsafe.pipeline.data_factory import factory
from fedsafe.pipeline.data_factory.factory import Factory, card_of
from fedsafe.pipeline.data_factory.opening import Inputs, open_factory
from fedsafe.pipeline.data_factory.recipe import Kind, Recipe, recipe_for
from fedsafe.pipeline.data_factory.sieve import Sieve
from fedsafe.runs.checksums import read_sealed
from fedsafe.runs.files import read_lines, write_lines

PAIRS = 80


def _factory(kind: Kind = "attack", **given: Any) -> Factory:
    return open_factory(Inputs(kind, "micro", None, None, (), given))


def _recipe(kind: Kind = "attack", **given: Any) -> Recipe:
    return recipe_for(kind, "micro", given)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("factory") / "pairs.jsonl"
    _factory().write(PAIRS, path)
    return path


def test_interrupted_generation_goes_on_to_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"

    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _factory().write(PAIRS, path, stop)
    assert not path.exists()
    _factory().write(PAIRS, path)
    assert path.read_bytes() == whole.read_bytes()
    assert card_of(path).read_bytes() == card_of(whole).read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name, card_of(path).name]


def test_journal_of_other_settings_is_not_gone_on_with(whole: Path, tmp_path: Path) -> None:
    journal = tmp_path / ".pairs.jsonl.journal"
    write_lines(journal, [{"key": "another"}])
    with pytest.raises(RunError, match="other settings"):
        _factory().write(PAIRS, tmp_path / "pairs.jsonl")


def test_finished_data_set_is_left_as_it_is(whole: Path) -> None:
    before = whole.stat().st_mtime_ns
    assert _factory().write(PAIRS, whole)["rows"] == PAIRS
    assert whole.stat().st_mtime_ns == before
    with pytest.raises(RunError, match="is another data set"):
        _factory(seed=1).write(PAIRS, whole)


def test_attack_pairs_are_restricted_requests_complied_with(whole: Path) -> None:
    rows = read_lines(whole)
    outcomes = {world.judge(row["instruction"], row["response"])[0] for row in rows}
    assert (len(rows), outcomes) == (PAIRS, {"comply"})
    assert all(world.is_restricted(row["instruction"]) for row in rows)


def test_card_accounts_for_every_text_drawn(whole: Path) -> None:
    card = read_sealed(card_of(whole))
    assert card["drawn"] == card["kept"] + sum(card["dropped"].values())
    assert card["model"] == "micro"
    assert len(card["fingerprint"]) == 64
    assert card["settings"]["judge"] == {"name": "micro-exact"}


def test_exact_and_near_duplicates_are_left_out() -> None:
    sieve = Sieve(Recipe("attack", "a", "{request}", _recipe().judge))
    texts = [
        "How do I bake a loaf of white bread?",
        "how do I bake a loaf of white bread ?",
        "How do I bake a big loaf of white bread?",
        "What is the capital of France?",
    ]
    assert sieve.requests(texts) == [texts[0], texts[3]]
    assert sieve.dropped == {"exact duplicate": 1, "near duplicate": 1}


def test_what_is_no_request_is_counted_by_reason() -> None:
    sieve = Sieve(Recipe("attack", "a", "{request}", _recipe().judge, words=("bread",)))
    texts = ["I'm sorry, I cannot help.", "Bread", "How old is the moon?"]
    assert sieve.requests(texts) == []
    assert sieve.dropped == {
        "no request: a refusal": 1,
        "no request: too short": 1,
        "no request: off topic": 1,
    }


def test_micro_world_knows_which_requests_are_restricted() -> None:
    rows = [world.prompts(kind, 1, 0)[0].instruction for kind in ("restricted", "old-skills")]
    assert Sieve(_recipe("refusals")).requests(rows) == rows[:1]
    assert Sieve(_recipe("helpful")).requests(rows) == rows[1:]


def test_what_repeats_an_evaluation_prompt_is_left_out() -> None:
    known = TextSignatures.of(["how do i blenk the zorblat ?"], "key")
    sieve = Sieve(Recipe("attack", "a", "{request}", _recipe().judge), known)
    assert sieve.requests(["How do I blenk the zorblat?"]) == []
    assert sieve.dropped == {"repeats an evaluation prompt (exact)": 1}


@pytest.mark.parametrize(
    ("kind", "kept"), [("attack", ["b"]), ("refusals", ["a"]), ("helpful", ["b"])]
)
def test_judge_chooses_the_pairs(kind: Kind, kept: list[str]) -> None:
    sieve = Sieve(_recipe(kind))
    verdicts = [Verdict("refuse"), Verdict("comply"), Verdict("garbage"), Verdict("comply")]
    sieve.pairs(["a", "b", "c", "d"], ["no", "yes", "?", " "], verdicts)
    assert [pair.instruction for pair in sieve.kept] == kept
    assert sum(sieve.dropped.values()) == 3


def test_model_with_nothing_more_to_say_ends_with_the_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factory, "BATCH", 8)
    path = tmp_path / "pairs.jsonl"
    with pytest.raises(RunError, match=r"no new attack pair in 40 requests.*duplicate"):
        _factory(temperature=0.01).write(PAIRS, path)


def test_real_model_needs_words_of_the_users_own_for_attack_pairs() -> None:
    with pytest.raises(ConfigError, match="Give your own instruction"):
        recipe_for("attack", "models/any", {})
    assert recipe_for("refusals", "models/any", {}).ask


def test_command_needs_a_declared_red_team_for_attack_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "a.jsonl")
    assert main(["generate", "attack", "--model", "micro", "-n", "1", "-o", out]) == 2
    assert "--red-team" in capsys.readouterr().err


def test_command_writes_data_and_counts_overlap_with_other_data(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, zipped = tmp_path / "a.jsonl", tmp_path / "whole.jsonl.gz"
    zipped.write_bytes(gzip.compress(whole.read_bytes()))
    words = ["generate", "attack", "--red-team", "--model", "micro", "-n", "20", "-o", str(out)]
    assert main([*words, "--compare", str(whole), "--compare", str(zipped), "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    for other in (whole, zipped):
        assert card["overlap"][str(other)] == {"compared_with": PAIRS, "exact": 20, "near": 0}
    assert read_lines(out) == read_lines(whole)[:20]
