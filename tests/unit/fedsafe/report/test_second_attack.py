"""What table and report say of a second attack, and of acceptance cards."""

from pathlib import Path

import pytest

from fedsafe.cli.tables import before_after
from fedsafe.report import write
from fedsafe.report.second_attack import Holding, holdings
from fedsafe.runs.acceptance import shipped
from fedsafe.runs.records import Rate, Stage
from fedsafe.runs.store import Store
from tests.unit.fedsafe.report.page_check import check
from tests.unit.fedsafe.report.synthetic import rate, scores, stage, stages, write_run

AGAIN = "attacked-again:<b>fine-tune"


def attacked_again(*refused: float) -> Stage:
    made = stage(AGAIN, scores(refused[-1], 0.9), 30.0)
    by_round = [scores(one, 0.9, n=40) for one in refused]
    return made.model_copy(update={"after": "defended:fine-tune", "by_round": by_round})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    directory = write_run(tmp_path / "run")
    store = Store(directory)
    summary = store.summary()
    assert summary is not None
    added = [*stages(), attacked_again(0.98, 0.95, 0.4)]
    store.write_summary(summary.model_copy(update={"stages": added}))
    return directory


@pytest.mark.parametrize(
    ("unsafe", "held"), [((0.0, 0.1, 0.5), 2), ((0.5, 0.0), 0), ((0.0, 0.05), 2), ((0.1,), 1)]
)
def test_defense_holds_until_the_first_round_that_it_does_not(
    unsafe: tuple[float, ...], held: int
) -> None:
    rounds = tuple(Rate(value=value, n=40) for value in unsafe)
    assert Holding("x", None, rounds).held == held


def test_sentence_tells_the_course_and_how_many_rounds() -> None:
    found = list(holdings([*stages(), attacked_again(0.98, 0.95, 0.4)]))
    assert len(found) == 1
    assert found[0].said == (
        "<b>fine-tune held 2 of 3 rounds of a second attack (at most 10.0 % unsafe): unsafe from "
        "2.5 % to 1.6 % → 4.6 % → 59.6 %, n 40."
    )


def test_rounds_that_nobody_judged_say_nothing() -> None:
    made = attacked_again(0.9)
    blank = made.by_round[0].model_copy(update={"measures": {"unsafe": rate(0.5, 4)}})
    without = blank.model_copy(update={"measures": {}})
    assert list(holdings([made.model_copy(update={"by_round": [without]})])) == []


def test_report_shows_each_round_and_escapes_names(run: Path) -> None:
    text = check(write(run))
    assert "Second attack" in text
    assert "2 of 3 rounds" in text
    assert "&lt;b&gt;fine-tune" in text


def test_table_says_how_long_the_defense_held(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = Store(run).summary()
    assert summary is not None
    before_after(summary, run)
    assert "held 2 of 3 rounds of a second attack" in capsys.readouterr().out


def test_report_shows_the_shipped_card_beside_the_defense(run: Path) -> None:
    text = check(write(run))
    card = shipped("fine-tune")
    assert "Acceptance cards" in text
    if card is not None:
        assert text.count("<b>FAIL</b>") == card.counts[1]
