"""Comparison of runs: what differs, paired tests, flips; what cannot be compared is refused."""

from pathlib import Path
from typing import get_args

import pytest
from scipy import stats

from fedsafe.contracts import Purpose
from fedsafe.errors import RunError
from fedsafe.evaluation import inspecting
from fedsafe.evaluation.evaluate import prompts_of
from fedsafe.pipeline.compared_stages import GOOD
from fedsafe.pipeline.comparison import compare
from fedsafe.report.comparison_texts import moved
from fedsafe.runs.checksums import write_sealed
from fedsafe.runs.comparison_records import Comparison, MeasureChange, StagePair
from fedsafe.runs.records import Scores
from fedsafe.runs.scores import Rate
from fedsafe.runs.seed_records import SeedSummary
from fedsafe.runs.store import Store
from tests.doubles.evaluated_runs import evaluated_run, refuses

TRIMMED = ("federation.strategy={name: trimmed-mean, byzantine: 1}",)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run under the mean that refuses 2 of 12 under attack, one under a rule with 11."""
    home = tmp_path_factory.mktemp("runs")
    before, after = refuses(12), refuses(12)
    one = evaluated_run(home / "mean", {"clean": before, "attacked": refuses(2)})
    other = {"clean": after, "attacked": refuses(11), "defended:fine-tune": after}
    return one, evaluated_run(home / "trim", other, TRIMMED)


@pytest.fixture(scope="module")
def comparison(runs: tuple[Path, Path]) -> Comparison:
    return compare(runs)


def pair(comparison: Comparison, first: str, second: str) -> StagePair:
    return next(p for p in comparison.pairs if (p.first, p.second) == (first, second))


def change(found: StagePair, measure: str) -> MeasureChange:
    return next(one for one in found.measures if one.measure == measure)


def test_only_settings_that_differ_are_named(comparison: Comparison) -> None:
    assert {one.path: one.values for one in comparison.settings} == {
        "federation.strategy.name": ["mean", "trimmed-mean"],
        "federation.strategy.byzantine": [None, 1],
    }


def test_stages_of_one_name_and_the_last_ones_are_compared(comparison: Comparison) -> None:
    assert [(one.first, one.second) for one in comparison.pairs] == [
        ("A clean", "B clean"),
        ("A attacked", "B attacked"),
        ("A attacked", "B defended:fine-tune"),
    ]


def test_refusal_is_tested_on_pairs(comparison: Comparison) -> None:
    found = change(pair(comparison, "A attacked", "B attacked"), "refusal")
    assert (found.before, found.after) == (2 / 12, 11 / 12)
    assert (found.pairs, found.gained, found.lost, found.test) == (12, 9, 0, "McNemar")
    assert found.p_value == pytest.approx(stats.binomtest(9, 9, 0.5).pvalue)
    assert found.mean == pytest.approx(0.75)


def test_correction_is_over_every_test_of_the_comparison(comparison: Comparison) -> None:
    changes = [one for p in comparison.pairs for one in p.measures]
    tested = [one for one in changes if one.p_value is not None]
    assert comparison.tests == len(tested)
    smallest = min(tested, key=lambda one: one.p_value or 0.0)
    assert smallest.p_adjusted == pytest.approx(min(1.0, len(tested) * (smallest.p_value or 0.0)))


def test_flips_name_the_prompt_and_hold_no_words(comparison: Comparison) -> None:
    flips = pair(comparison, "A attacked", "B attacked").flips
    assert [flip.prompt for flip in flips] == [f"micro-restricted-{n:04}" for n in range(3, 12)]
    assert {(flip.before, flip.after, flip.better) for flip in flips} == {
        ("comply", "refuse", True)
    }
    assert {(flip.instruction, flip.replies) for flip in flips} == {(None, None)}


def test_revealed_flips_hold_what_was_asked_and_both_replies(runs: tuple[Path, Path]) -> None:
    flip = pair(compare(runs, reveal=True), "A attacked", "B attacked").flips[0]
    assert flip.instruction
    assert flip.replies == ("to micro-restricted-0003",) * 2


def test_one_stage_of_a_run_is_compared_with_another(runs: tuple[Path, Path]) -> None:
    found = compare([f"{runs[1]}:attacked", f"{runs[1]}:defended:fine-tune"])
    assert [(one.first, one.second) for one in found.pairs] == [
        ("A attacked", "B defended:fine-tune")
    ]


def test_same_model_with_the_same_answers_is_no_test(runs: tuple[Path, Path]) -> None:
    found = compare([runs[0], runs[0]])
    assert all(one.unchanged for one in found.pairs)
    assert found.tests == 0


def test_failed_defense_is_compared_as_the_model_that_it_was_given(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    run = evaluated_run(tmp_path / "failed", {"clean": refuses(12), "attacked": refuses(2)})
    store = Store(run)
    summary = store.summary()
    assert summary is not None
    empty = {"adapter": "", "path": "", "evaluation": "", "judge": "", "scores": Scores()}
    lost = {"name": "defended:fine-tune", "status": "failed", "reason": "too few pairs", **empty}
    stages = [*summary.stages, summary.stages[-1].model_copy(update=lost)]
    store.write_summary(summary.model_copy(update={"stages": stages}))
    found = compare([run, runs[1]])
    defended = change(pair(found, "A defended:fine-tune", "B defended:fine-tune"), "refusal")
    attacked = change(pair(found, "A attacked", "B attacked"), "refusal")
    assert (defended.before, defended.after) == (attacked.before, 1.0)
    assert any("counts with the model that it was given" in one for one in found.warnings)


def test_other_prompts_under_the_same_ids_are_refused(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    other = evaluated_run(tmp_path / "seed1", {"attacked": refuses(1)}, ["seed=1"])
    with pytest.raises(RunError, match="evaluated on different prompts"):
        compare([runs[0], other])


def test_prompts_of_one_run_alone_are_told_and_left_out(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    suites = "{name: micro, harmful: 8, over_refusal: 6, old_skills: 4, new_skill: 4}"
    fewer = [f"evaluation.suites={suites}"]
    other = evaluated_run(tmp_path / "fewer", {"attacked": refuses(8)}, fewer)
    found = compare([f"{runs[0]}:attacked", other])
    assert any("were not asked the same at attacked" in one for one in found.warnings)
    assert found.pairs[0].common + found.pairs[0].only_first == 26


def test_unknown_stage_is_named_with_those_there_are(runs: tuple[Path, Path]) -> None:
    with pytest.raises(RunError, match=r"no evaluated stage 'atacked'.*attacked.*Stages: clean"):
        compare([f"{runs[0]}:atacked", runs[1]])


def test_different_judges_are_told(runs: tuple[Path, Path], tmp_path: Path) -> None:
    judge = ["evaluation.judge={name: keyword}"]
    other = evaluated_run(tmp_path / "keyword", {"attacked": refuses(2)}, judge)
    warnings = compare([f"{runs[0]}:attacked", other]).warnings
    assert any("judged by different judges and are not comparable" in one for one in warnings)


def test_a_judge_that_read_no_reply_is_told(runs: tuple[Path, Path], tmp_path: Path) -> None:
    run = evaluated_run(tmp_path / "run", {"clean": refuses(12)})
    summary = Store(run).summary()
    assert summary is not None
    (stage,) = summary.stages
    scores = stage.scores.model_copy(update={"unread": (stage.scores.judge,)})
    stages = [stage.model_copy(update={"scores": scores})]
    Store(run).write_summary(summary.model_copy(update={"stages": stages}))
    assert any(
        "could judge no reply of B clean" in said for said in compare([runs[0], run]).warnings
    )


def test_a_measure_without_a_value_is_not_called_unchanged() -> None:
    values = {"refusal": None, "unsafe": 1.0}
    changes = [MeasureChange(measure=m, before=v, after=v) for m, v in values.items()]
    found = StagePair(first="A", second="B", common=1, measures=changes)
    assert moved(found) == ([], changes[1:])


def test_replies_that_were_changed_are_refused(tmp_path: Path) -> None:
    run = evaluated_run(tmp_path / "run", {"attacked": refuses(2)})
    (replies,) = run.glob("evaluations/*/exchanges.jsonl")
    replies.write_text(replies.read_text().replace("to micro", "from micro"))
    with pytest.raises(RunError, match="missing or were changed"):
        compare([run, run])


def test_run_without_an_evaluated_stage_is_refused(tmp_path: Path) -> None:
    run = evaluated_run(tmp_path / "run", {})
    assert Store(run).summary() is not None
    with pytest.raises(RunError, match="no evaluated stage yet"):
        compare([run, run])


def seeded(home: Path, refused: dict[int, int]) -> Path:
    """Write an experiment's runs with these seeds, and their aggregate."""
    for seed, count in refused.items():
        evaluated_run(home / f"seed-{seed}", {"attacked": refuses(count)}, [f"seed={seed}"])
    names = {seed: f"seed-{seed}" for seed in refused}
    summary = SeedSummary(
        name="x",
        experiment="",
        seeds=list(refused),
        runs=names,
        judges=[],
        stages=[],
        differences=[],
    )
    write_sealed(home / "seeds.json", summary.plain())
    return home


def test_experiments_with_several_seeds_are_paired_by_seed(tmp_path: Path) -> None:
    one = seeded(tmp_path / "one", {0: 2, 1: 4})
    other = seeded(tmp_path / "other", {0: 6, 1: 6, 2: 6})
    found = compare([one, other])
    refusal = change(found.pairs[0], "refusal")
    assert (refusal.pairs, refusal.gained, refusal.lost) == (24, 4 + 2, 0)
    assert refusal.before == pytest.approx((2 + 4) / 24)
    assert any("have not the same seeds" in one for one in found.warnings)
    assert "seed" not in {one.path for one in found.settings}


def test_several_seeds_are_not_compared_with_one_run(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="holds runs with several seeds"):
        compare([runs[0], seeded(tmp_path / "one", {0: 2})])


def test_damaged_aggregate_of_seeds_is_a_sentence(tmp_path: Path) -> None:
    write_sealed(tmp_path / "seeds.json", {"name": "x"})
    with pytest.raises(RunError, match=r"seeds\.json cannot be read: experiment"):
        compare([tmp_path, tmp_path])


def test_every_purpose_has_an_outcome_that_is_wanted() -> None:
    assert set(GOOD) == set(get_args(Purpose))


def with_margins(run: Path, moved: float) -> Path:
    """Give a run's attacked stage a diagnostic that was read prompt by prompt."""
    store = Store(run)
    summary = store.summary()
    assert summary is not None
    stage = summary.stages[-1]
    prompts = [p.id for p in prompts_of(store.experiment) if p.purpose == "harmful"]
    values = {id_: number + moved for number, id_ in enumerate(prompts)}
    inspecting.keep(run / stage.evaluation, {"refusal-margin:1": {"values": values}})
    rate = Rate(value=sum(values.values()) / len(values), n=len(values))
    measures = {**stage.scores.measures, "refusal-margin:1": rate}
    scores = stage.scores.model_copy(update={"measures": measures})
    stages = [*summary.stages[:-1], stage.model_copy(update={"scores": scores})]
    store.write_summary(summary.model_copy(update={"stages": stages}))
    return run


def test_diagnostics_of_single_prompts_are_tested_on_pairs(tmp_path: Path) -> None:
    one = with_margins(evaluated_run(tmp_path / "a", {"attacked": refuses(2)}), 0.0)
    other = with_margins(evaluated_run(tmp_path / "b", {"attacked": refuses(2)}), 1.5)
    found = change(pair(compare([one, other]), "A attacked", "B attacked"), "refusal-margin:1")
    assert (found.pairs, found.mean, found.test) == (12, 1.5, "sign flips")
    assert found.p_value == pytest.approx(2 / 2**12)
    assert found.bootstrap_low == found.bootstrap_high == pytest.approx(1.5)
