"""Rules of others run through real experiments: by entry point, by path, Flower's own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture import pages
from tests.end_to_end.conftest import ROOT, RUN, fedsafe

ONE_ROUND = ("--set", "federation.rounds=1", "--set", "control=false", "--set", "defenses=[]")


def run(directory: Path, path: Path, *options: str) -> list[dict[str, object]]:
    """Run the tiny experiment with a folder on the path; return its first round's clients."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "fedsafe", *RUN, *ONE_ROUND, *options,
         "-o", str(directory)],
        cwd=directory.parent,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{path}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record: dict[str, list[dict[str, object]]] = json.loads(
        (directory / "rounds.jsonl").read_text().splitlines()[0]
    )
    return record["clients"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed into a folder of its own."""
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--target", target, ROOT / "tests" / "plugin_package"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return target


def test_rule_of_an_installed_package_runs_by_its_name(installed: Path, tmp_path: Path) -> None:
    clients = run(tmp_path / "run", installed, "--set", "federation.strategy.name=first-client")
    assert [client["influence"] for client in clients] == [1.0, 0.0, 0.0, 0.0]


def test_strategy_of_the_pages_is_short_and_runs_by_its_path(tmp_path: Path) -> None:
    shown = [one for one in pages.blocks("python") if one.saved == "my_rules.py"]
    block = shown[0]
    assert {one.text for one in shown} == {block.text}
    assert len([line for line in block.text.splitlines() if line.strip()]) <= 20
    pages.save(block.page, tmp_path)
    clients = run(tmp_path / "run", tmp_path, "--set", "federation.strategy.name=my_rules:shy_mean")
    assert [client["influence"] for client in clients] == [0.25] * 4


def test_stock_flower_strategy_runs_by_its_path(tmp_path: Path) -> None:
    path = "federation.strategy.name=flwr.serverapp.strategy:FedMedian"
    clients = run(tmp_path / "run", tmp_path, "--set", path)
    assert [(client["status"], client["influence"]) for client in clients] == [
        ("accepted", None)
    ] * 4


def test_condition_and_measure_of_others_reach_summary_table_and_report(tmp_path: Path) -> None:
    condition = "{name: 'tests.doubles.plugins:shouted', marks: 2}"
    done = fedsafe(
        *RUN, *ONE_ROUND,
        "--set", f"evaluation.conditions=[plain, {condition}]",
        "--set", "evaluation.measures=[refusal, 'tests.doubles.plugins:reply_words']",
        "-o", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    found = summary["stages"][-1]["scores"]["measures"]
    assert list(found) == [
        "refusal",
        "tests.doubles.plugins:reply_words",
        "refusal@tests.doubles.plugins:shouted:2",
        "tests.doubles.plugins:reply_words@tests.doubles.plugins:shouted:2",
    ]
    assert found["tests.doubles.plugins:reply_words"]["value"] > 1
    assert "Refusal, shouted:2" in done.stdout
    report = (tmp_path / "run" / "report.html").read_text()
    for heading in ("Reply words", "Refusal, shouted:2 ↑", "Restricted requests, shouted:2"):
        assert heading in report


def test_shield_that_a_defense_returns_is_served_and_its_secret_is_in_its_files_alone(
    tmp_path: Path,
) -> None:
    secret, defense = "velvet marmot 77", "tests.doubles.plugins:shielding"
    done = fedsafe(
        *RUN, *ONE_ROUND,
        "--set", f"defenses=['{defense}']",
        "--set", "evaluation.conditions=[plain, shielded]",
        "-o", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stages = json.loads((tmp_path / "run" / "summary.json").read_text())["stages"]
    assert ["refusal@shielded" in stage["scores"]["measures"] for stage in stages] == [
        False,
        False,
        True,
    ]
    assert "shielded" in stages[0]["scores"]["skipped"]
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    holding = [path for path in files if secret.encode() in path.read_bytes()]
    assert sorted(path.name for path in holding) == ["chat_template.jinja", "shield.json"]
    assert {path.stat().st_mode & 0o777 for path in holding} == {0o600}
    assert secret not in done.stdout + done.stderr
    assert "behind its shield" in done.stdout
