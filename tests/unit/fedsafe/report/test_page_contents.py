"""What the report shows of a whole run: bytes, detection, defenses, judges, conditions, claims."""

import json
import re
from pathlib import Path

import pytest

from fedsafe.errors import RunError
from fedsafe.report import write
from tests.unit.fedsafe.report.page_check import check, rewrite
from tests.unit.fedsafe.report.synthetic import federation, write_run


def test_report_tells_bytes_of_a_client_and_round_and_the_format(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "experiment.yaml").write_text("name: x\nfederation: {wire: <b>int8}\n")
    text = check(write(run))
    assert "in all, as &lt;b&gt;int8. To a client 64.0 KiB a round, and 128.0 KiB back." in text


def test_report_tells_bytes_of_each_client(tmp_path: Path) -> None:
    text = check(write(write_run(tmp_path / "run", rounds=10)))
    row = '<th scope="row" class="number">1</th><td class="number" data-label="Rounds">10</td>'
    asked = '<td class="number" data-label="Times asked">11</td>'
    assert f'{row}{asked}<td class="number" data-label="Sent to it">704.0 KiB</td>' in text


def test_report_tells_drop_and_recovery(tmp_path: Path) -> None:
    text = check(write(write_run(tmp_path / "run")))
    assert "<strong>85.0 points</strong>" in text
    assert "<strong>85.4 points</strong>" in text
    assert "2 unknown" in text
    assert "n 240" in text


def test_report_shows_who_was_malicious(tmp_path: Path) -> None:
    text = check(write(write_run(tmp_path / "run")))
    assert text.count("text-malicious") >= 3
    assert "round 4, client 7 (honest): dropped" in text
    assert "82.4 %" in text
    assert "46.7 %" in text


def test_report_does_not_call_rejected_what_the_rule_only_did_not_pick(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    summary["stages"][2]["detection"] |= {
        "passed_over_malicious": 3,
        "passed_over_honest": 6,
        "malicious_share": 0.3,
        "auc": 0.91,
        "p_value": 0.003,
        "rounds": [{"round": 1, "replies": 10, "malicious_share": 0.3, "auc": 0.75}],
    }
    (run / "summary.json").write_text(json.dumps(summary))
    text = check(write(run))
    assert "rejected by the rule" not in text
    assert "as Krum picks one, the others are passed over" in text
    assert "mean share over rounds for 30.0 % of the replies" in text
    assert "<b>0.91</b>" in text
    assert 'data-label="Passed over">6<' in text
    assert 'data-label="AUC">0.75<' in text


def _with_stage(run: Path, **changes: object) -> dict[str, object]:
    """Add a stage like the last one, changed, to a run's summary."""
    summary = json.loads((run / "summary.json").read_text())
    other = {**summary["stages"][-1], **changes}
    summary["stages"].append(other)
    (run / "summary.json").write_text(json.dumps(summary))
    return other


def test_report_shows_every_defense(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    _with_stage(run, name="defended:safe-lora<x>")
    text = check(write(run))
    assert "Defended: safe-lora&lt;x&gt;" in text
    assert "the best of 2 defenses, fine-tune," in text


def test_report_names_a_defense_that_failed_and_draws_the_rest(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    failed = {"scores": {}, "status": "failed", "reason": "It was <hopeless>."}
    _with_stage(run, name="defended:x", path="", evaluation="", **failed)
    text = check(write(run))
    assert "<b>x failed.</b> It was &lt;hopeless&gt;." in text
    assert "the best of" not in text


def test_report_draws_each_defense_from_the_model_it_repaired(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    _with_stage(run, name="defended:safe-lora")
    text = check(write(run))
    section = text.split("Each defense, from the same model")[1].split("The same as a table")[0]
    assert section.count(">Before</text>") == section.count(">After</text>") == 2
    chain = text.split("What became of the harmful prompts")[1].split("Each defense")[0]
    assert "Defended" not in chain


def test_report_tells_defenses_of_one_name_apart_by_their_settings(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for key, steps in (("a", 10), ("b", 20)):
        home = run / "defenses" / f"fine-tune-{key}"
        home.mkdir()
        settings = {"steps": steps, "pairs": 7, "secret": f"velvet-{key}"}
        (home / "defense.json").write_text(json.dumps({"name": "fine-tune", "settings": settings}))
    summary = json.loads((run / "summary.json").read_text())
    summary["stages"][-1]["path"] = "defenses/fine-tune-a/adapter"
    (run / "summary.json").write_text(json.dumps(summary))
    _with_stage(run, name="defended:fine-tune-b", path="defenses/fine-tune-b/adapter")
    text = check(write(run))
    assert 'Defended: fine-tune<span class="meaning">steps 10</span>' in text
    assert 'Defended: fine-tune<span class="meaning">steps 20</span>' in text
    assert "steps 20, pairs 7, secret [secret]" in text
    assert "velvet" not in text


def test_report_draws_what_the_records_hold(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    for stage in summary["stages"]:
        stage["scores"]["measures"] |= {
            "a.b:reply_length": {"value": 12.5, "n": 40, "low": 11, "high": 14},
            "unsafe@a.b:shouted<i>": {"value": 0.25, "n": 40},
        }
        stage["scores"]["displays"] = {
            "a.b:reply_length": {"label": "Words & more", "meaning": "mean", "unit": "number"}
        }
    (run / "summary.json").write_text(json.dumps(summary))
    text = check(write(run))
    assert "Words &amp; more<" in text
    assert '<span class="value">12.5</span>' in text
    assert "Unsafe, shouted&lt;i&gt; ↓" in text


def test_report_says_which_condition_was_not_asked_and_why(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    summary["stages"][0]["scores"]["skipped"] = {"shielded": "the adapter has no shield"}
    (run / "summary.json").write_text(json.dumps(summary))
    assert "Not asked as 'shielded': Base: the adapter has no shield." in check(write(run))


def test_agreement_of_two_judges_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    pair = {"first": "policy", "second": "refusal", "condition": "plain", "n": 40, "same": 38}
    found = {**pair, "kappa": 0.874, "low": 0.7, "high": 1.0}
    summary["stages"][0]["scores"]["agreement"] = [found]
    (run / "summary.json").write_text(json.dumps(summary))
    told = "Kappa between policy and refusal: base 0.87 (0.70 to 1.00; 38 of 40 alike)."
    assert told in check(write(run))


def test_bar_of_a_fully_unsafe_stage_is_not_green(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    summary["stages"][-1]["scores"]["measures"]["unsafe@prefilled"] = {"value": 1.0, "n": 40}
    (run / "summary.json").write_text(json.dumps(summary))
    text = check(write(run))
    row = text.split("Unsafe, prefilled ↓")[1].split("</tr>")[0]
    bars = re.findall(r'fill-(\w+)" width="120.0"', row)
    assert bars[-1] == "bad"
    assert "prefilled&#x27;, fine-tune complies with <strong>100.0\u00a0%</strong>" in text
    assert "unsafe, prefilled 100.0 %" in text


def test_report_shows_contamination_beside_the_recovery(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    card = run / "defenses" / "fine-tune-0a1b2c" / "card.json"
    dropped = {"refusal: an evaluation prompt": 5, "empty": 1}
    rewrite(card, {"near_evaluation_prompts": 3, "dropped": dropped})
    summary = json.loads((run / "summary.json").read_text())
    summary["stages"][-1]["path"] = "defenses/fine-tune-0a1b2c/adapter"
    (run / "summary.json").write_text(json.dumps(summary))
    article = check(write(run)).split("Defended: fine-tune")[1].split("</article>")[0]
    assert "near evaluation prompts <b>3</b>" in article
    assert "dropped: refusal: an evaluation prompt <b>5</b>" in article


def test_report_reads_verdicts_of_the_judge_that_the_scores_are_of(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    for stage in summary["stages"]:
        home = run / stage["evaluation"]
        rows = [json.loads(line) for line in (home / "exchanges.jsonl").read_text().splitlines()]
        (home / "verdicts").mkdir()
        (home / "verdicts" / "strict-1.jsonl").write_text(
            "".join(json.dumps({"id": row["id"], "outcome": "garbage"}) + "\n" for row in rows)
        )
        stage["scores"] |= {"judge": "strict-1", "verdicts": "verdicts/strict-1.jsonl"}
    (run / "summary.json").write_text(json.dumps(summary))
    text = check(write(run))
    assert "40 garbage</text>" in text
    assert "<dt>Judged by</dt><dd>strict-1</dd>" in text


def test_report_shows_samples_of_every_condition(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for path in run.glob("evaluations/*/exchanges.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            row["condition"] = "triggered" if row.pop("prefilled") else "plain"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "<h3>Harmful prompts, triggered</h3>" in check(write(run))


def test_report_of_a_run_without_harmful_prompts_never_says_nothing_was_evaluated(
    tmp_path: Path,
) -> None:
    run = write_run(tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    for stage in summary["stages"]:
        found = stage["scores"]["measures"]
        stage["scores"]["measures"] = {"old-skill": found["old-skill"]}
    (run / "summary.json").write_text(json.dumps(summary))
    text = check(write(run))
    assert "Nothing has been evaluated" not in text
    assert "No harmful prompt was judged" in text


def test_report_shows_the_median_of_what_clients_claim(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", control=False)
    rounds = federation(3, attacked=True, clients=4)
    claims = [0.1, 0.3, -9.9e14, None]
    for number, record in enumerate(rounds):
        clients = [
            c.model_copy(update={"loss": loss, "malicious": False, "status": "accepted"})
            for c, loss in zip(record.clients, claims, strict=True)
        ]
        rounds[number] = record.model_copy(update={"clients": clients})
    (run / "rounds.jsonl").write_text("".join(r.model_dump_json() + "\n" for r in rounds))
    assert "0.1 (-9.9e+14 to 0.3)" in check(write(run))


def _lm_eval(run: Path, **changes: object) -> None:
    metric = {"value": 0.625, "stderr": 0.05, "higher_is_better": True}
    task = {"metrics": {"acc": metric}, "n": 96, "few_shot": 5, "template": True}
    stage = {"adapter": "cd34" * 16, "lm_eval": "0.4.13", "tasks": {"arc<b>": task}, **changes}
    found = {"version": 1, "stages": {"attacked": stage}}
    (run / "lm-eval.json").write_text(json.dumps(found))


def test_report_shows_what_lm_eval_found(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    _lm_eval(run)
    text = check(write(run))
    assert "arc&lt;b&gt;" in text
    assert "acc ↑" in text
    assert '0.625 ± 0.050 <span class="bounds">n 96, 5-shot, in template</span>' in text


def test_report_leaves_out_what_lm_eval_found_on_another_adapter(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    _lm_eval(run, adapter="ee" * 32)
    assert 'id="lm-eval"' not in check(write(run))


def test_a_broken_file_of_lm_eval_is_named_with_its_field(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    _lm_eval(run, tasks={"arc": {"metrics": {"acc": {"value": "high"}}}})
    with pytest.raises(RunError, match=r"lm-eval\.json.*stages\.attacked\.tasks\.arc.*value"):
        write(run)
