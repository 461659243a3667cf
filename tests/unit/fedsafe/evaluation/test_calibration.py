"""Calibration against labels of people: figures, files, and leaving one model out."""

import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score

from fedsafe.contracts import Verdict
from fedsafe.errors import DataError
from fedsafe.evaluation.calibration import agreement, calibrate, leave_one_model_out
from fedsafe.evaluation.labels import LabelledReply, read_labels
from fedsafe.evaluation.tuning import fitted, tuner

HEADER = "prompt,completion,final_label\n"
REFUSALS = ("I cannot help with that.", "I'm sorry, but I won't.", "I must decline this request.")
ANSWERS = ("Boil the water, then add the tea.", "Sure, here are three steps.", "It is on Monday.")


def labelled(model, said):
    """Return one reply for each label, refusals and answers in turn."""
    texts = {"refuse": REFUSALS, "partial": REFUSALS, "comply": ANSWERS}
    return [
        LabelledReply("How do I do it?", texts[label][i % 3], label, model)
        for i, label in enumerate(said)
    ]


@pytest.fixture
def scored():
    rng = np.random.default_rng(1)
    rows = labelled("one", rng.choice(["refuse", "partial", "comply"], 120))
    verdicts = [Verdict("refuse" if rng.random() < 0.6 else "comply") for _ in rows]
    return rows, verdicts, calibrate(rows, verdicts)["one"]


@pytest.mark.parametrize(
    ("name", "measure"),
    [("kappa", cohen_kappa_score), ("balanced_accuracy", balanced_accuracy_score)],
)
def test_measures_are_scikit_learn_s(scored, name, measure):
    rows, verdicts, found = scored
    truth = [row.label != "comply" for row in rows]
    said = [verdict.outcome == "refuse" for verdict in verdicts]
    assert found.measures[name].value == pytest.approx(measure(truth, said))


def test_intervals_hold_their_values(scored):
    for measured in scored[2].measures.values():
        assert measured.low <= measured.value <= measured.high


def test_what_cannot_be_judged_is_counted_and_in_no_share():
    rows = labelled("one", ["refuse", "comply", "comply"])
    found = calibrate(rows, [Verdict("refuse"), Verdict("unknown"), Verdict("comply")])["one"]
    assert (found.n, found.unknown) == (2, 1)
    assert found.measures["accuracy"].value == 1.0


def test_partial_refusals_are_shown_apart():
    rows = labelled("one", ["refuse", "partial", "comply"])
    found = calibrate(rows, [Verdict("refuse"), Verdict("comply"), Verdict("comply")])["one"]
    shares = {label: one.value for label, one in found.by_label.items()}
    assert shares == {"refuse": 1.0, "partial": 0.0, "comply": 0.0}


def test_an_interval_without_an_error_has_a_width_that_shrinks_with_n():
    lows = [agreement([True, False] * n, [True, False] * n).low for n in (5, 50)]
    assert lows == pytest.approx([0.445, 0.926], abs=0.01)


def test_a_model_that_is_named_all_keeps_its_row():
    rows = [*labelled("all", ["refuse"]), *labelled("b", ["comply"] * 2)]
    found = calibrate(rows, [Verdict("refuse")] + [Verdict("comply")] * 2)
    assert {name: one.n for name, one in found.items()} == {"all": 1, "b": 2, "all models": 3}


def test_a_file_that_is_given_twice_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER}q,no,refuse\n")
    with pytest.raises(DataError, match="given twice"):
        read_labels([path, tmp_path / "." / "a.csv"])


def test_kappa_of_judges_that_both_call_all_the_same_is_not_defined():
    assert agreement([True, True], [True, True]).value is None


def test_kappa_with_a_judge_that_calls_all_alike_is_zero():
    assert agreement([True] * 4, [True, False, True, False]).value == 0.0


def test_a_model_is_judged_by_the_labels_of_the_others_alone():
    rows = labelled("a", ["refuse", "comply"]) + labelled("b", ["comply", "refuse"])
    seen = []

    def tune(training):
        seen.append({row.model for row in training})
        return lambda held: [Verdict("comply") for _ in held]

    leave_one_model_out(rows, tune)
    assert seen == [{"b"}, {"a"}]


def test_leaving_the_only_model_out_is_an_error():
    with pytest.raises(ValueError, match="two models"):
        leave_one_model_out(labelled("a", ["refuse"]), tuner())


def test_fitted_weights_tell_phrases_of_refusal_from_answers():
    rows = labelled("a", ["refuse", "comply"] * 6) + labelled("b", ["comply", "refuse"] * 6)
    verdicts = leave_one_model_out(rows, tuner())
    assert calibrate(rows, verdicts)["all"].measures["accuracy"].value == 1.0


def test_no_sign_of_refusing_counts_against_it():
    rows = labelled("a", ["comply", "refuse"] * 6)
    wrong = [LabelledReply(r.prompt, "I'm sorry, here it is.", "comply", "a") for r in rows[:6]]
    weights = fitted([*rows, *wrong])
    assert weights.get("sorry:head", 0.0) >= 0


def test_several_formats_give_the_same(tmp_path):
    row = {"instruction": "Q?", "response": "No.", "label": "partial refusal", "model": "m"}
    (tmp_path / "a.json").write_text(json.dumps([row]))
    (tmp_path / "b.jsonl").write_text(json.dumps(row))
    (tmp_path / "c.csv").write_text("instruction,response,label,model\nQ?,No.,3,m\n")
    found = read_labels([tmp_path / name for name in ("a.json", "b.jsonl", "c.csv")])
    assert set(found) == {LabelledReply("Q?", "No.", "partial", "m")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prompt,completion\nQ?,No.\n", "line 2: no column for the label"),
        (HEADER + "Q?,No.,maybe\n", "line 2, field 'final_label'.*maybe"),
        (HEADER + ",No.,1\n", "field 'prompt'"),
        (HEADER, "has no rows"),
    ],
)
def test_a_file_that_is_no_file_of_labels_is_named(tmp_path, text, said):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        read_labels([path])
    assert "labels.csv" in str(caught.value) or "row" in str(caught.value)


def test_a_truncated_archive_is_named(tmp_path):
    import gzip

    path = tmp_path / "labels.csv.gz"
    path.write_bytes(gzip.compress((HEADER + "Q?,No.,1\n" * 99).encode())[:-12])
    with pytest.raises(DataError, match=r"labels\.csv\.gz"):
        read_labels([path])


def test_columns_can_be_named(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("prompt,text,final_label\nQ?,No.,2\n")
    assert read_labels([path], {"reply": "text"})[0].label == "refuse"


def test_columns_are_known_in_any_case(tmp_path):
    (tmp_path / "m.csv").write_text("Prompt,Completion,Final_Label\nQ?,No.,2.0\n")
    assert read_labels([tmp_path / "m.csv"]) == [LabelledReply("Q?", "No.", "refuse", "m")]


def test_a_row_without_a_model_is_of_the_file(tmp_path):
    rows = [{"prompt": "Q?", "reply": "No.", "label": "refuse"} for _ in range(3)]
    rows[0]["model"], rows[1]["model"] = "x", None
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [row.model for row in read_labels([tmp_path / "m.jsonl"])] == ["x", "m", "m"]


def test_a_label_that_the_first_row_lacks_is_named_with_its_line(tmp_path):
    rows = [{"prompt": "Q?", "reply": "No."}, {"prompt": "Q?", "reply": "No.", "label": "refuse"}]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match="line 1, field 'label'"):
        read_labels([tmp_path / "m.jsonl"])


def test_encoding_and_key_can_be_named(tmp_path):
    rows = {"data": [{"prompt": "Q?", "reply": "Café.", "label": "comply"}]}
    text = json.dumps(rows, ensure_ascii=False)
    (tmp_path / "m.json").write_bytes(text.encode("cp1252"))
    found = read_labels([tmp_path / "m.json"], encoding="cp1252", key="data")
    assert found[0].reply == "Café."
