"""The self-written fine-tune: what is kept of what the model wrote, and the card that says so."""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fedsafe.contracts import Exchange, FitReport, Outcome, Sample, Verdict, defenses
from fedsafe.data.dedup import normalise
from fedsafe.data.text_signatures import TextSignatures
from fedsafe.defenses.pair_filters import why_not
from fedsafe.errors import RunError
from fedsafe.evaluation.overlap import OverlapCounter
from fedsafe.experiment.schema import PluginChoice
from fedsafe.models import adapters
from fedsafe.pipeline.run_defense import run_defense
from fedsafe.runs.events import Events
from fedsafe.runs.files import read_lines
from fedsafe.training.session import Session

SETTINGS = {"ask_unsafe": "unsafe?", "note": "Note: {request}", "ask_ordinary": "ordinary?"}


class ScriptedModel:
    """A context and task in one: it writes numbered requests and repeats them."""

    def __init__(self, outcome: Callable[[Exchange], Outcome], requests: int = 500) -> None:
        self.rng = random.Random(0)
        self.avoid: frozenset[str] = frozenset()
        self.trained: list[Sample] = []
        self.card: Mapping[str, object] = {}
        self.outcome = outcome
        self.requests = requests
        self.normalise = normalise
        self.start: dict[str, object] = {}
        self.filter = "keyword"
        self.within = False
        self.calls: list[tuple[str, str, bool]] = []

    def write(
        self,
        instructions: Sequence[str],
        *,
        temperature: float = 0.0,
        rng: random.Random | None = None,
    ) -> list[str]:
        """Draw requests when asked for some, else answer."""
        self.calls.append(("write", instructions[0] if instructions else "", self.within))
        if rng is None:
            return [f"re: {text}" for text in instructions]
        return [f"{text} {rng.randrange(self.requests)}" for text in instructions]

    def judge(self, exchanges: Sequence[Exchange], name: str = "") -> list[Verdict]:
        """Give the scripted verdicts, and note whose model is asked."""
        self.calls.append(("judge", name, self.within))
        return [Verdict(self.outcome(exchange)) for exchange in exchanges]

    def fresh(self, texts: Sequence[str]) -> list[bool]:
        """Leave out what is to be avoided."""
        return [normalise(text) not in self.avoid for text in texts]

    @contextmanager
    def reference(self, snapshot: object) -> Iterator[None]:
        """Note that another adapter is in place."""
        self.within = True
        yield
        self.within = False

    def fit(self, samples: Sequence[Sample], **settings: float) -> FitReport:
        """Keep what it would train on."""
        self.trained = list(samples)
        return FitReport((1.0,), 1.0, 0, len(samples), 0, 0, 0.0)

    def keep(self, name: str, samples: Sequence[Sample], card: Mapping[str, object]) -> None:
        """Keep the card."""
        self.card = card

    def report(self, message: str, **numbers: float) -> None:
        """Say nothing."""

    def adapter(self) -> dict[str, object]:
        """Return an empty adapter."""
        return {}


def _good(exchange: Exchange) -> Outcome:
    return "refuse" if exchange.prompt.purpose == "harmful" else "comply"


def _defend(model: ScriptedModel, pairs: int = 20, **settings: object) -> None:
    defenses["fine-tune"].configure({**SETTINGS, "pairs": pairs, **settings})(model, model)


def test_half_are_refusals_and_half_are_helpful() -> None:
    model = ScriptedModel(_good)
    _defend(model)
    origins = [example.origin for example in model.trained]
    assert (origins.count("refusal"), origins.count("helpful")) == (20, 20)


def test_note_is_not_kept_in_the_pair() -> None:
    model = ScriptedModel(_good)
    _defend(model)
    refusal = next(example for example in model.trained if example.origin == "refusal")
    assert refusal.response == f"re: Note: {refusal.instruction}"


def test_requests_are_distinct() -> None:
    model = ScriptedModel(_good, requests=30)
    _defend(model)
    asked = [example.instruction for example in model.trained]
    assert len(asked) == len(set(asked))


def test_evaluation_prompts_are_never_trained_on() -> None:
    model = ScriptedModel(_good)
    model.avoid = frozenset(normalise(f"unsafe? {number}") for number in range(0, 500, 2))
    _defend(model)
    assert not model.avoid & {normalise(example.instruction) for example in model.trained}


def test_pairs_of_the_wrong_outcome_are_dropped_and_counted() -> None:
    model = ScriptedModel(lambda e: "comply" if e.prompt.instruction.endswith("7") else _good(e))
    _defend(model, pairs=40)
    dropped = model.card["dropped"]
    assert isinstance(dropped, dict)
    assert dropped["refusal: judged comply"] > 0


def test_several_notes_are_drawn_from() -> None:
    model = ScriptedModel(_good)
    _defend(model, note=("Note: {request}", "Careful: {request}"))
    beginnings = {sample.response.split()[1] for sample in model.trained}
    assert beginnings >= {"Note:", "Careful:"}


def test_start_model_writes_the_refusals_and_the_attacked_one_the_help() -> None:
    model = ScriptedModel(_good)
    _defend(model, writer="start")
    written = {text.split(" ")[0]: within for what, text, within in model.calls if what == "write"}
    assert (written["unsafe?"], written["Note:"], written["ordinary?"]) == (True, True, False)


def test_every_filter_is_asked() -> None:
    model = ScriptedModel(_good)
    _defend(model, filter=("keyword", "self"))
    assert {name for what, name, _ in model.calls if what == "judge"} == {"keyword", "self"}


def test_task_says_what_filters_where_nothing_is_set() -> None:
    model = ScriptedModel(_good)
    model.filter = "self"
    _defend(model)
    assert model.card["filtered_by"] == "self"


@pytest.mark.parametrize(
    ("verdicts", "reason"),
    [
        ([Verdict("refuse")], ""),
        ([Verdict("comply")], "judged comply"),
        ([Verdict("refuse"), Verdict("comply")], "judged comply"),
        ([Verdict("refuse"), Verdict("refuse", safe=False)], "judged unsafe"),
        ([Verdict("unknown")], "judged unknown"),
        ([Verdict("unknown", safe=True)], ""),
        ([Verdict("unknown"), Verdict("refuse")], ""),
    ],
)
def test_pair_is_left_out_where_a_judge_contradicts(verdicts: list[Verdict], reason: str) -> None:
    assert why_not(verdicts, "refuse") == reason


def test_halves_stay_equal_when_one_runs_short() -> None:
    model = ScriptedModel(
        lambda e: (
            _good(e)
            if e.prompt.purpose == "utility" or "1" in e.prompt.instruction[-1:]
            else "garbage"
        )
    )
    _defend(model, pairs=60)
    origins = [example.origin for example in model.trained]
    assert origins.count("refusal") == origins.count("helpful") < 60


def test_model_that_writes_nothing_usable_is_a_sentence() -> None:
    with pytest.raises(RunError, match=r"wrote 0 usable refusal pairs in 160 tries"):
        _defend(ScriptedModel(lambda e: "garbage"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "defenses"


def good(exchanges: Sequence[Exchange], /) -> list[Verdict]:
    """Find what is wanted in every pair."""
    return [Verdict(_good(exchange)) for exchange in exchanges]


def _repair(session: Session, home: Path, steps: int = 2, pairs: int = 4) -> Path:
    settings = {**SETTINGS, "pairs": pairs, "steps": steps, "learning_rate": 0.01}
    settings["filter"] = f"{__name__}:good"
    return run_defense(
        session,
        session.start(0),
        PluginChoice.model_validate({"name": "fine-tune", **settings}),
        seed=0,
        start=session.start(0),
        key="key",
        directory=home / "fine-tune",
        avoid=frozenset(),
        judge=PluginChoice(name="micro-exact"),
        overlap=OverlapCounter(TextSignatures.of((), "")),
        events=Events(),
    ).directory


def test_repair_keeps_data_and_card(session: Session, home: Path) -> None:
    directory = _repair(session, home)
    card = json.loads((directory / "card.json").read_text(encoding="utf-8"))
    rows = read_lines(directory / "examples.jsonl")
    assert (card["rows"], card["refusals"], card["helpful"]) == (len(rows), 4, 4)


def test_repair_changes_the_adapter(session: Session, home: Path) -> None:
    found = adapters.load(_repair(session, home) / "adapter")
    assert adapters.digest(found) != adapters.digest(session.start(0))


def test_repair_repeats_to_the_byte(session: Session, tmp_path: Path) -> None:
    one, other = (_repair(session, tmp_path / name) for name in ("a", "b"))
    assert adapters.digest(adapters.load(one / "adapter")) == adapters.digest(
        adapters.load(other / "adapter")
    )


def test_repair_is_never_done_twice(session: Session, home: Path) -> None:
    directory = _repair(session, home)
    written = (directory / "card.json").stat().st_mtime_ns
    assert (_repair(session, home), (directory / "card.json").stat().st_mtime_ns) == (
        directory,
        written,
    )


def test_directory_of_another_defense_is_a_sentence(session: Session, home: Path) -> None:
    directory = _repair(session, home)
    other = {"b": torch.zeros(1)}
    save_file(other, directory / "adapter" / adapters.WEIGHTS)
    with pytest.raises(RunError, match=r"holds another adapter than the one that defense\.json"):
        _repair(session, home)
