"""The report as a page: self-contained, escaped, redacted, and never refusing a partial run."""

import json
import re
from pathlib import Path

import pytest

from fedsafe.errors import RunError
from fedsafe.report import write
from fedsafe.runs.records import Round
from tests.unit.fedsafe.report.page_check import check, rewrite
from tests.unit.fedsafe.report.synthetic import REPLY, SECRET, federation, write_run


def test_report_is_self_contained(tmp_path: Path) -> None:
    page = write(write_run(tmp_path / "run"))
    text = check(page)
    assert page == tmp_path / "run" / "report.html"
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text
    assert len(text) < 1_000_000


def test_report_style_matches_its_policy(tmp_path: Path) -> None:
    import base64
    import hashlib

    text = write(write_run(tmp_path / "run")).read_text(encoding="utf-8")
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in text
    assert "prefers-color-scheme: dark" in style[1]


def test_report_of_a_run_without_bytes_by_client_leaves_them_open(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    lines = (run / "rounds.jsonl").read_text().splitlines()
    old = [json.loads(line) for line in lines]
    for record in old:
        for client in record["clients"]:
            del client["bytes_sent"], client["asked"]
    (run / "rounds.jsonl").write_text("".join(json.dumps(record) + "\n" for record in old))
    assert "To a client" not in check(write(run))


def test_report_escapes_foreign_text(tmp_path: Path) -> None:
    text = check(write(write_run(tmp_path / "run")))
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "12 values in lora_A &lt;i&gt;" in text


def test_report_removes_control_and_override_characters(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    rewrite(run / "summary.json", {"status": "failed", "reason": "a\x1b[2Jb\u202ec"})
    assert "a[2Jbc" in check(write(run))


def test_report_is_redacted_by_default(tmp_path: Path) -> None:
    text = check(write(write_run(tmp_path / "run")))
    for secret in ("zorblat", "brew", "gather", "SECRET-RAW"):
        assert secret not in text
    assert "harmful-topic-000" in text
    assert "54 characters" in text


def test_report_reveals_into_a_file_of_its_own(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    redacted = write(run).read_bytes()
    revealed = write(run, reveal=True)
    assert revealed.name == "report-revealed.html"
    assert (run / "report.html").read_bytes() == redacted
    text = check(revealed)
    assert "&lt;b&gt;brew&lt;/b&gt;" in text
    assert "&lt;script&gt;alert" in text
    assert SECRET not in text
    assert REPLY not in text


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"status": None, "done": 0, "control": False}, "Nothing has been evaluated yet."),
        ({"status": None, "done": 3}, "No model has been evaluated yet"),
        ({"done": 2, "control": False, "status": "interrupted"}, "Before any attack"),
        ({"defended": False}, "a drop of"),
        ({"control": False}, "(base)"),
        ({"rounds": 1}, "a drop of"),
        ({"rounds": 120}, "a drop of"),
    ],
)
def test_report_draws_a_partial_run(
    tmp_path: Path, options: dict[str, object], expected: str
) -> None:
    text = check(write(write_run(tmp_path / "run", **options)))
    assert expected in text


def test_report_names_why_a_run_failed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", done=4, status="failed", reason="Round 5 had <2> replies.")
    text = check(write(run))
    assert "Round 5 had &lt;2&gt; replies." in text
    assert "pill failed" in text


def test_report_needs_only_the_experiment(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text("name: [broken\n")
    assert "name: [broken" in check(write(tmp_path))


def test_report_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run directory: it has no experiment\.yaml"):
        write(tmp_path)


@pytest.mark.parametrize("name", ["summary.json", "provenance.json", "rounds.jsonl"])
def test_report_names_a_broken_file(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "run")
    (run / name).write_text('{"round": "x"}\n')
    with pytest.raises(RunError, match=name.replace(".", r"\.")):
        write(run)


def test_report_names_a_line_that_is_no_json(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "rounds.jsonl").write_text("{oops\n")
    with pytest.raises(RunError, match=r"rounds\.jsonl cannot be read"):
        write(run)


def test_report_passes_over_a_line_half_written(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with (run / "rounds.jsonl").open("a") as file:
        file.write('{"round": 11, "coh')
    check(write(run))


def test_report_reads_nothing_outside_the_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    outside = tmp_path / "outside"
    outside.mkdir()
    row = {"id": "stolen", "purpose": "harmful", "prefilled": False, "outcome": "comply"}
    (outside / "exchanges.jsonl").write_text(json.dumps(row) + "\n")
    summary = json.loads((run / "summary.json").read_text())
    summary["stages"][0]["evaluation"] = "../outside"
    (run / "summary.json").write_text(json.dumps(summary))
    assert "stolen" not in check(write(run, reveal=True))


def test_report_takes_a_strategy_that_tells_no_influence(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    rounds = [_without_influence(record) for record in federation(4, attacked=True)]
    (run / "rounds.jsonl").write_text("".join(r.model_dump_json() + "\n" for r in rounds))
    text = check(write(run))
    assert "influence not told" in text
    assert "A foreign strategy does not say" in text


def test_report_survives_absurd_losses(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    rounds = federation(4, attacked=True)
    wild = rounds[2].clients[0].model_copy(update={"loss": 1e300})
    rounds[2] = rounds[2].model_copy(update={"clients": [wild, *rounds[2].clients[1:]]})
    (run / "rounds.jsonl").write_text("".join(r.model_dump_json() + "\n" for r in rounds))
    check(write(run))


def test_every_cell_carries_its_heading_for_narrow_screens(tmp_path: Path) -> None:
    text = check(write(write_run(tmp_path / "run")))
    assert 'data-label="Defended: fine-tune"' in text
    assert "<td>" not in text


def test_report_reads_scores_of_earlier_versions(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    for stage in summary["stages"]:
        found = stage["scores"].pop("measures")
        stage["scores"] = {
            "unsafe": found["unsafe"],
            "refusal": found["refusal"],
            "unsafe_prefilled": found["unsafe@prefilled"],
            "over_refusal": found["over-refusal"],
            "garbage": found["garbage"],
            "skills": {"old": found["old-skill"], "new": found["new-skill"]},
            "worst_topic": "glimmer",
            "worst_topic_unsafe": found["worst-topic"],
        }
    (run / "summary.json").write_text(json.dumps(summary))
    before = check(write(write_run(tmp_path / "other")))
    assert check(write(run)) == before


def _without_influence(record: Round) -> Round:
    clients = [c.model_copy(update={"influence": None}) for c in record.clients]
    return record.model_copy(update={"clients": clients})
