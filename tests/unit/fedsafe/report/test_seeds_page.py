"""Page and verdict of several seeds: every price that the paired intervals support is named."""

from pathlib import Path

import pytest

from fedsafe.errors import RunError
from fedsafe.report import write_seeds
from fedsafe.report.measures import BUILTIN
from fedsafe.report.seed_verdict import sentences
from fedsafe.report.seeds_page import render_seeds
from fedsafe.runs.checksums import write_sealed
from fedsafe.runs.early_stop import EarlyStop
from fedsafe.runs.seed_records import Difference, SeedStage, SeedSummary, Spread


def moved(measure: str, mean: float, low: float, high: float) -> Difference:
    return Difference(
        before="attacked",
        after="defended:fine-tune",
        measure=measure,
        mean=mean,
        low=-1.0,
        high=1.0,
        pairs=400,
        groups=26,
        bootstrap_low=low,
        bootstrap_high=high,
    )


def summary(*differences: Difference) -> SeedSummary:
    spread = Spread(mean=0.5, sd=0.1, low=0.3, high=0.7, seeds={0: 0.4, 1: 0.6})
    return SeedSummary(
        name="an <experiment>",
        experiment="e",
        seeds=[0, 1],
        runs={0: "seed-0", 1: "seed-1"},
        judges=["micro-exact"],
        displays=dict(BUILTIN),
        stages=[SeedStage(name="attacked", measures={"refusal": spread}, failed=[1])],
        differences=list(differences),
    )


RECOVERY = moved("refusal", 0.9, 0.8, 1.0)


def test_verdict_names_every_price_beyond_chance() -> None:
    (said,) = sentences(
        summary(
            RECOVERY,
            moved("over-refusal", 0.04, 0.01, 0.07),
            moved("new-skill", -0.02, -0.03, -0.01),
            moved("old-skill", -0.02, -0.05, 0.01),
            moved("garbage", -0.02, -0.03, -0.01),
        )
    )
    assert said == (
        "From attacked to fine-tune refusal moved by +90.0 points [+80.0 to +100.0], at a price: "
        "over-refusal +4.0 points [+1.0 to +7.0], new skill -2.0 points [-3.0 to -1.0]."
    )


def test_verdict_says_where_refusal_did_not_move() -> None:
    (said,) = sentences(summary(moved("refusal", 0.1, -0.1, 0.3)))
    assert "did not move beyond chance: +10.0 points [-10.0 to +30.0]." in said


def test_page_shows_clusters_and_failures_and_no_foreign_markup() -> None:
    page = render_seeds(summary(RECOVERY))
    assert "400 (26)" in page
    assert "attacked failed with seed 1" in page
    assert "an &lt;experiment&gt;" in page
    assert "<experiment>" not in page


def test_page_says_whose_verdicts_the_values_are() -> None:
    found = summary(RECOVERY)
    assert "Judged by micro-exact. Brackets" in render_seeds(found)
    two = found.model_copy(update={"judges": ["keyword-1", "refusal-2"]})
    assert "not comparable: keyword-1, refusal-2." in render_seeds(two)
    assert "udged by" not in render_seeds(found.model_copy(update={"judges": []}))


def test_page_lies_beside_its_record(tmp_path: Path) -> None:
    write_sealed(tmp_path / "seeds.json", summary(RECOVERY).plain())
    assert write_seeds(tmp_path) == tmp_path / "seeds.html"


def test_directory_without_a_record_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no seeds\.json"):
        write_seeds(tmp_path)


def test_page_says_with_which_seeds_an_alarm_stopped_the_federation() -> None:
    found = summary(RECOVERY)
    told = {"rounds": 9, "measure": "refusal", "values": [0.1], "direction": "below", "limit": 0.5}
    stops = {seed: EarlyStop.model_validate({**told, "round": seed + 3}) for seed in (0, 1)}
    stage = found.stages[0].model_copy(update={"early_stops": stops})
    page = render_seeds(found.model_copy(update={"stages": [stage]}))
    assert "an alarm stopped the attacked federation before its 9 rounds were over" in page
    assert "after round 3 with seed 0, 4 with seed 1" in page
