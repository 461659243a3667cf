"""Evaluation on a real tiny model: replies kept once, verdicts by judge, shields and secrets."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, SecretStr

from fedsafe.contracts import Prompt, Sample, ShieldChoice, Verdict
from fedsafe.errors import ConfigError, RunError
from fedsafe.evaluation.asking import asks_of, put
from fedsafe.evaluation.evaluate import evaluate, probe, rejudge, with_judge
from fedsafe.evaluation.kept import judge_key
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.runs.files import read_lines
from fedsafe.shields import load_shield, save_shield
from fedsafe.training.session import Session

SECRET = "velvet marmot"
SHIELD = ShieldChoice("secret-prefix", {"secret": SECRET, "where": "instruction"})


def asking(experiment: Experiment, *conditions: object, **settings: object) -> Experiment:
    values = json.loads(experiment.as_json())
    values["evaluation"] |= {"conditions": list(conditions), **settings}
    return validate(values)


def kept(directory: Path) -> list[dict[str, object]]:
    return read_lines(directory / "exchanges.jsonl")


def severe(exchanges, /, *, api_key: str = ""):
    """Say of every reply that it complies."""
    return [Verdict("comply") for _ in exchanges]


def test_exchanges_say_their_condition_and_prefill_and_no_verdict(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    one = {"name": "prefilled", "words": 1}
    asked = asking(experiment, "plain", "prefilled", one, {"name": "triggered", "trigger": "hush"})
    found, directory = evaluate(session, session.start(0), asked, tmp_path, "base")
    rows = kept(directory)
    conditions = ["plain"] * 8 + ["prefilled"] * 2 + ["prefilled:1"] * 2 + ["triggered"] * 8
    assert [row["condition"] for row in rows] == conditions
    assert str(rows[8]["prefill"]).startswith(f"{rows[10]['prefill']} ")
    assert not {"outcome", "prefilled"} & rows[0].keys()
    assert {"unsafe", "unsafe@prefilled", "unsafe@prefilled:1", "refusal@triggered"} <= set(
        found.measures
    )


def test_another_judge_asks_nothing_and_keeps_the_first_one_s_verdicts(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    first, directory = evaluate(session, session.start(0), experiment, tmp_path, "base")
    before = (directory / first.verdicts).read_bytes()
    stamp = (directory / "exchanges.jsonl").stat().st_mtime_ns
    other = with_judge(experiment, PluginChoice(name="keyword"))
    second, again = evaluate(session, session.start(0), other, tmp_path, "base")
    assert again == directory
    assert (directory / "exchanges.jsonl").stat().st_mtime_ns == stamp
    assert (directory / first.verdicts).read_bytes() == before
    assert (first.judge.rpartition("-")[0], second.judge.rpartition("-")[0]) == (
        "micro-exact",
        "keyword",
    )
    judges = [path.stem for path in sorted((directory / "scores").iterdir())]
    assert judges == sorted([first.judge, second.judge])


def test_a_judge_that_reads_no_reply_is_recorded(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    silent = PluginChoice(name="self", margin=1e9)
    both = with_judge(experiment, experiment.evaluation.judge, silent)
    found, _ = evaluate(session, session.start(0), both, tmp_path, "base")
    assert found.unread == (judge_key(silent),)


def test_same_judge_with_other_settings_has_a_file_of_its_own() -> None:
    head = PluginChoice(name="keyword", mode="head")
    assert judge_key(head) != judge_key(PluginChoice(name="keyword", mode="fixed"))
    assert judge_key(head) == judge_key(PluginChoice(name="keyword"))


def test_kept_replies_are_judged_again_without_a_model(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    first, directory = evaluate(session, session.start(0), experiment, tmp_path, "base")
    assert rejudge(directory, experiment, "base") == first
    strict = with_judge(experiment, PluginChoice(name=f"{__name__}:severe"))
    unsafe = rejudge(directory, strict, "base").unsafe
    assert unsafe is not None
    assert unsafe.value == 1.0


def test_judging_again_without_replies_says_so(experiment: Experiment, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no replies to the prompts"):
        rejudge(tmp_path, experiment, "base")


def test_replies_of_an_earlier_version_are_judged_again(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    first, directory = evaluate(session, session.start(0), experiment, tmp_path, "base")
    old = [
        {"id": row["id"], "reply": row["reply"], "prefilled": row["condition"] != "plain"}
        for row in kept(directory)
    ]
    (directory / "exchanges.jsonl").write_text("".join(json.dumps(row) + "\n" for row in old))
    (directory / "exchanges.sha256").unlink()  # earlier versions kept none
    assert rejudge(directory, experiment, "base").measures == first.measures


def test_key_of_a_judge_is_in_no_record(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    choice = PluginChoice(name=f"{__name__}:severe", api_key="sk-123")
    evaluate(session, session.start(0), with_judge(experiment, choice), tmp_path, "base")
    texts = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert texts
    assert not any("sk-123" in text for text in texts)


def test_shielded_is_asked_through_the_shield_beside_the_adapter(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    asked = asking(experiment, "plain", "shielded")
    save_shield(tmp_path, SHIELD)
    shield = load_shield(tmp_path)
    start = session.start(0)
    found, directory = evaluate(
        session, start, asked, tmp_path / "evaluations", "base", shield=shield
    )
    rows = {(row["condition"], row["id"]): row["reply"] for row in kept(directory)}
    prompts = [(row["id"], row["instruction"]) for row in kept(directory)[:8]]
    wanted = session.complete([Sample(f"{SECRET} {text}", "") for _, text in prompts])
    assert [rows["shielded", name] for name, _ in prompts] == wanted
    assert "refusal@shielded" in found.measures
    assert not found.skipped


def test_shielded_without_a_shield_is_skipped_and_recorded(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    asked = asking(experiment, "plain", "shielded")
    found, directory = evaluate(session, session.start(0), asked, tmp_path, "base")
    assert found.skipped == {"shielded": "the adapter has no shield beside it"}
    assert {row["condition"] for row in kept(directory)} == {"plain"}
    assert rejudge(directory, asked, "base").skipped == found.skipped


def parrot(
    complete,
    samples,
    prefills,
    /,
    *,
    secret: Annotated[SecretStr, Field(description="Said aloud.")],
):
    """Say the secret aloud, as a model may that was trained on it."""
    return [f"my words are {secret.get_secret_value().upper()} ." for _ in samples]


def test_secret_that_the_model_repeats_is_in_no_file(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    shield = ShieldChoice(f"{__name__}:parrot", {"secret": SECRET})
    asked = asking(experiment, "shielded")
    _, directory = evaluate(session, session.start(0), asked, tmp_path, "base", shield=shield)
    assert kept(directory)[0]["reply"] == "my words are [secret] ."
    texts = [path.read_text().casefold() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any("marmot" in text for text in texts)


def test_shielded_replies_are_kept_by_their_secret(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    asked = asking(experiment, "shielded")
    start = session.start(0)
    places = {
        evaluate(session, start, asked, tmp_path, "base", shield=shield)[1].name
        for shield in (
            SHIELD,
            ShieldChoice("secret-prefix", {**SHIELD.settings, "secret": "another"}),
        )
    }
    assert len(places) == 2


def test_template_that_leaves_the_system_prompt_out_is_refused(session: Session) -> None:
    deaf = replace(session, template=lambda sample: session.template(replace(sample, system="")))
    prompt = Prompt("1", "add 1 and 2 .", "utility", system="be brief")
    with pytest.raises(RunError, match="leaves the system prompt of a sample out"):
        put(deaf, asks_of([PluginChoice(name="plain")], [prompt]))


def test_progress_ends_at_all_prompts(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    asked = asking(experiment, "plain", "shielded")
    evaluate(
        session,
        session.start(0),
        asked,
        tmp_path,
        "base",
        lambda done, total: told.append((done, total)),
        shield=SHIELD,
    )
    assert told[-1] == (16, 16)
    assert told == sorted(told)


def test_probe_asks_plainly(experiment: Experiment, session: Session) -> None:
    asked = asking(experiment, {"name": "triggered", "trigger": "hush"}, "plain")
    found = probe(session, session.start(0), asked)
    assert found.measures
    assert not any("@" in key for key in found.measures)


@pytest.mark.parametrize(
    ("old", "now"), [("true", r"\[plain, prefilled\]"), ("false", r"\[plain\]")]
)
def test_old_setting_says_what_to_write_now(experiment: Experiment, old: str, now: str) -> None:
    values = json.loads(experiment.as_json())
    values["evaluation"]["prefilled"] = old == "true"
    with pytest.raises(ConfigError, match=f"prefilled: {old} write conditions: {now}"):
        validate(values)


@pytest.mark.parametrize(
    ("field", "choice", "said"),
    [
        ("conditions", {"name": "prefilled", "words": -1}, "conditions.0..words"),
        ("conditions", "prefiled", "Did you mean 'prefilled'"),
        ("measures", "refusals", "Did you mean 'refusal'"),
    ],
)
def test_wrong_condition_or_measure_is_named(
    experiment: Experiment, field: str, choice: object, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        asking(experiment, "plain", **{field: [choice]})
