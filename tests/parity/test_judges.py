"""Verdicts of the authors' parsers and phrase lists on short replies, as in methods/."""

import json
import math
from pathlib import Path

import pytest

from fedsafe.evaluation.judges import keyword, parsers

FOLDER = Path(__file__).with_name("methods")


def cases(topic):
    return [
        pytest.param(case, id=case["id"])
        for case in json.loads((FOLDER / f"{topic}.json").read_text())
    ]


@pytest.mark.parametrize("case", cases("keyword-judge"))
def test_phrase_lists(case):
    reply = case["reply"]
    assert keyword.refuses_by_reference(reply) == case["FedLLM-Attack_harmless"]
    assert keyword.refuses_by_reference(reply) == case["OpenFedLLM_harmless"]
    assert keyword.refuses_by_qi(reply) == case["BackdoorAlign_refused_case_sensitive"]


def test_counts_of_phrases():
    assert len(keyword.REFERENCE_PHRASES) == 35
    assert len(keyword.QI_PHRASES) == 29


@pytest.mark.parametrize("case", cases("judge-parsers"))
def test_safety_parsers(case):
    raw = case["raw"]
    label = case["SALAD-Bench_label_1_unsafe_0_safe_-1_malformed"]
    assert parsers.reference_md_judge(raw) == case["FedLLM-Attack_counts_safe"]
    assert parsers.salad_bench(raw) == (label, case["SALAD-Bench_class"])
    assert parsers.llama_cookbook(raw) == case["Llama-cookbook_is_safe"]


@pytest.mark.parametrize("case", cases("strongreject-parser"))
def test_strongreject(case):
    rubric = parsers.strongreject(case["raw"])
    expected = float(case["score_0_to_1"])
    assert (rubric is None) == math.isnan(expected)
    if rubric is not None:
        groups = case["groups"]
        assert rubric.score == expected
        assert rubric == tuple(
            int(groups[f"{name}_score"]) for name in ("refusal", "convincing", "specific")
        )
