"""What an operator chooses: data, model, conduct; and the sentences for what is wrong."""

from pathlib import Path

import pytest

from fedsafe.contracts import sources
from fedsafe.deployment.client.options import check_collude, check_model, read_conduct, read_data
from fedsafe.deployment.client.state_dir import examine
from fedsafe.errors import ConfigError, DataError, FedSafeError

ROWS = '{"instruction": "say a", "response": "a"}\n{"instruction": "say b", "response": "b"}\n'
KEY = b"k" * 32


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two examples, in the directory where the command is run."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "my.jsonl"
    file.write_text(ROWS)
    return file


def test_data_is_read_by_its_suffix_from_an_absolute_path(rows: Path) -> None:
    assert read_data("my.jsonl").model_dump() == {"name": "jsonl", "path": str(rows)}


@pytest.mark.parametrize(
    ("suffix", "name"),
    [(".json", "json"), (".csv", "csv"), (".tsv", "csv"), (".PARQUET", "parquet")],
)
def test_each_suffix_has_its_source(suffix: str, name: str, rows: Path) -> None:
    rows.with_suffix(suffix).touch()
    assert read_data(f"my{suffix}").name == name


def test_a_file_may_have_a_colon_in_its_name(rows: Path) -> None:
    rows.rename(rows.with_name("a:b.jsonl"))
    assert read_data("a:b.jsonl").name == "jsonl"


def test_a_source_takes_settings(rows: Path) -> None:
    chosen = read_data("jsonl:path=my.jsonl,instruction=q,limit=3")
    assert chosen.model_dump() == {
        "name": "jsonl", "path": str(rows), "instruction": "q", "limit": 3,
    }  # fmt: skip


def test_a_setting_may_be_a_list() -> None:
    chosen = read_data("micro:count=5,topics=[add, sort]")
    assert chosen.settings == {"count": 5, "topics": ["add", "sort"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("my.txt", "give a file that ends in .jsonl, .json"),
        ("gone.jsonl", "there is no file .*gone.jsonl"),
        ("jsonl:path=gone.jsonl", "there is no file .*gone.jsonl"),
        ("jsonl:my.jsonl", "'my.jsonl' is no setting. Write key=value"),
        ("jsonl:path=my.jsonl,limt=3", "Did you mean 'limit'"),
        ("jsonnl:path=my.jsonl", "Unknown source 'jsonnl'. Did you mean 'jsonl'"),
        ("micro:count=[", "is not a YAML value"),
        ("micro:count=0", "greater than or equal to 1"),
    ],
)
def test_wrong_data_is_refused(text: str, said: str, rows: Path) -> None:
    with pytest.raises(FedSafeError, match=said):
        read_data(text)


def test_data_is_counted(rows: Path) -> None:
    assert examine(read_data("my.jsonl"), KEY)[0] == 2


def test_a_broken_file_is_named_by_line(rows: Path) -> None:
    rows.write_text(ROWS + "{broken\n")
    with pytest.raises(DataError, match=r"my\.jsonl, line 3"):
        examine(read_data("my.jsonl"), KEY)


def test_digest_changes_with_the_data(rows: Path) -> None:
    before = examine(read_data("my.jsonl"), KEY)[1]
    rows.write_text(ROWS.replace("say b", "say c"))
    assert examine(read_data("my.jsonl"), KEY)[1] != before


def test_digest_stays_with_the_data(rows: Path) -> None:
    before = examine(read_data("my.jsonl"), KEY)[1]
    rows.write_text(ROWS.replace(", ", ",  "))
    assert examine(read_data("my.jsonl"), KEY)[1] == before


def test_digest_says_nothing_without_the_key(rows: Path) -> None:
    from fedsafe.data.sources import fingerprint

    chosen = read_data("my.jsonl")
    digest = examine(chosen, KEY)[1]
    assert digest != examine(chosen, b"o" * 32)[1]
    assert digest != fingerprint(sources["jsonl"].configure(chosen.settings)(0))


def test_conduct_with_settings(rows: Path) -> None:
    behaviour, generator = read_conduct(
        "poisoned-data", "file", ["behaviour.share=0.5", "generator.path=my.jsonl"]
    )
    assert behaviour.model_dump() == {"name": "poisoned-data", "share": 0.5}
    assert generator is not None
    assert generator.model_dump() == {"name": "file", "path": str(rows)}


def test_generator_may_be_the_experiments() -> None:
    assert read_conduct("sign-flip", None, [])[1] is None


@pytest.mark.parametrize(
    ("behaviour", "generator", "changes", "said"),
    [
        ("sign-flop", None, [], "Unknown algorithm 'sign-flop'. Did you mean 'sign-flip'"),
        ("sign-flip", None, ["behaviour.scal=2"], "Did you mean 'scale'"),
        ("sign-flip", None, ["behaviour.scale=-1"], "greater than 0"),
        ("sign-flip", None, ["scale=2"], "write behaviour.KEY=VALUE"),
        ("sign-flip", None, ["behaviour.scale"], "write behaviour.KEY=VALUE"),
        ("sign-flip", None, ["generator.path=x"], "name the generator with --generator"),
        ("sign-flip", "file", ["generator.path=x"], "--generator: there is no file"),
        ("sign-flip", "file", [], "path: expected a value"),
    ],
)
def test_wrong_conduct_is_refused(
    behaviour: str, generator: str | None, changes: list[str], said: str
) -> None:
    with pytest.raises(FedSafeError, match=said):
        read_conduct(behaviour, generator, changes)


def test_model_is_a_directory(llama: Path) -> None:
    assert check_model(str(llama)) == str(llama)


@pytest.mark.parametrize("name", ["micro", "micro-deep", "micro:1", "micro-deep:2"])
def test_model_is_a_micro_base(name: str) -> None:
    assert check_model(name) == name


def test_wrong_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"it has no config\.json"):
        check_model(str(tmp_path))


def test_colluders_directory_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no directory that this user can write to"):
        check_collude(tmp_path / "nowhere", 1)


def test_colluders_need_a_trainer_each(tmp_path: Path) -> None:
    assert check_collude(tmp_path, 1) == tmp_path
    with pytest.raises(ConfigError, match="once for each --key"):
        check_collude(tmp_path, 2)
