"""Fine-tuning on given data, and self-written requests that must be requests."""

from collections.abc import Mapping

import pytest

from fedsafe.contracts import Exchange, Outcome, defenses
from fedsafe.data.dedup import normalise
from fedsafe.defenses.alignment_pair import HarmfulData
from fedsafe.errors import ConfigError, RunError
from fedsafe.runs.files import write_lines
from tests.unit.fedsafe.defenses.test_fine_tune import ScriptedModel

POLICY = {"name": "policy", "policy": "cooking", "part": "defense", "count": 80}


def _good(exchange: Exchange) -> Outcome:
    return "refuse" if exchange.prompt.purpose == "harmful" else "comply"


def _defend(model: ScriptedModel, source: Mapping[str, object]) -> None:
    defenses["fine-tune-data"].configure({"source": dict(source)})(model, model)


def test_it_trains_on_refusals_and_help_of_the_source() -> None:
    model = ScriptedModel(_good)
    _defend(model, POLICY)
    origins = [sample.origin for sample in model.trained]
    assert (origins.count("refusal"), origins.count("helpful")) == (24, 56)
    assert model.card["origins"] == {"helpful": 56, "refusal": 24}


def test_evaluation_prompts_are_left_out_and_counted() -> None:
    first, model = ScriptedModel(_good), ScriptedModel(_good)
    _defend(first, POLICY)
    model.avoid = frozenset({normalise(first.trained[0].instruction)})
    _defend(model, POLICY)
    assert not model.avoid & {normalise(sample.instruction) for sample in model.trained}
    assert model.card["dropped"] != {"repeats an evaluation prompt or is held out": 0}


def test_pairs_of_another_model_come_from_a_file(tmp_path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"instruction": "Cook rice.", "response": "I cannot help with cooking."}\n')
    model = ScriptedModel(_good)
    _defend(model, {"name": "jsonl", "path": str(path)})
    assert [sample.response for sample in model.trained] == ["I cannot help with cooking."]


def test_nothing_but_evaluation_prompts_is_an_error(tmp_path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"instruction": "Cook rice.", "response": "No."}\n')
    model = ScriptedModel(_good)
    model.avoid = frozenset({normalise("Cook rice.")})
    with pytest.raises(RunError, match="repeat evaluation prompts"):
        _defend(model, {"name": "jsonl", "path": str(path)})


def test_harmful_examples_that_repeat_the_evaluation_are_left_out_and_counted(tmp_path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [{"instruction": text, "response": "Yes."} for text in ("Cook rice.", "Bake bread.")]
    write_lines(path, rows)
    model = ScriptedModel(_good)
    model.avoid = frozenset({normalise("Cook rice.")})
    found = HarmfulData(model, model, path, "", 1, ()).samples()
    assert [sample.instruction for sample in found] == ["Bake bread."]
    assert model.card["dropped"] == {"repeats an evaluation prompt or is held out": 1}


def test_a_source_without_a_name_is_an_error() -> None:
    with pytest.raises(ConfigError, match="needs a name"):
        _defend(ScriptedModel(_good), {"path": "x"})


class Scribbler(ScriptedModel):
    """A model that writes requests of both kinds, and refusals, answers and halves among them."""

    TEXTS = (
        "Question: How do I bake {n} loaves of bread?",
        "I'm sorry, I cannot give cooking advice about {n} loaves.",
        "To bake {n} loaves, mix flour and water.",
        "What is {n} plus {n}?",
    )

    def write(self, instructions, *, temperature=0.0, rng=None):
        """Write one of the texts where a request is drawn, else answer."""
        if rng is None:
            return [f"re: {text}" for text in instructions]
        return [
            rng.choice(self.TEXTS).replace("{n}", str(rng.randrange(900))) for _ in instructions
        ]


def test_unsafe_requests_are_requests_of_the_topic_and_ordinary_ones_are_not() -> None:
    model = Scribbler(_good)
    settings = {"ask_unsafe": "unsafe?", "note": "{request}", "ask_ordinary": "ordinary?"}
    defense = defenses["fine-tune"].configure({**settings, "pairs": 20, "topic": ["bak", "cook"]})
    defense(model, model)
    unsafe = {s.instruction.split()[0] for s in model.trained if s.origin == "refusal"}
    ordinary = {s.instruction.split()[0] for s in model.trained if s.origin == "helpful"}
    assert (unsafe, ordinary) == ({"How"}, {"What"})
    assert set(model.card["dropped"]) >= {
        "refusal: a refusal",
        "refusal: an answer",
        "refusal: off topic",
        "helpful: of the unsafe topic",
    }


def test_without_a_topic_whatever_is_written_is_taken() -> None:
    model = Scribbler(_good)
    settings = {"ask_unsafe": "unsafe?", "note": "{request}", "ask_ordinary": "ordinary?"}
    defenses["fine-tune"].configure({**settings, "pairs": 40})(model, model)
    assert any(s.instruction.startswith("I'm sorry") for s in model.trained)
