"""What every registered defense keeps to, on a tiny random model with a LoRA adapter.

One that is added is tested by being registered.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from fedsafe.contracts import Exchange, Verdict, defenses
from fedsafe.data.text_signatures import TextSignatures
from fedsafe.evaluation.overlap import OverlapCounter
from fedsafe.experiment.schema import Adapter, Experiment, Model, PluginChoice
from fedsafe.models import adapters
from fedsafe.pipeline.run_defense import run_defense
from fedsafe.runs.events import Events
from fedsafe.runs.files import read_lines
from fedsafe.training.session import Session, open_session
from fedsafe.training.session_spec import SessionSpec
from tests.doubles.models import make_model

PAIRS = Path(__file__).with_name("pairs.jsonl")
"""Stands for unsafe instructions with answers; a defense that has them writes none."""
SMALL: dict[str, Any] = {
    "job": {"name": "jsonl", "path": str(PAIRS)},
    "harmful": str(PAIRS),
    "instruction": "one two three",
    "response": "no",
    "unaligned": "self",
    "retain": str(PAIRS),
    "secret_words": 2,
    "refusal": "n",
    "source": {"name": "jsonl", "path": str(PAIRS)},
    "filter": f"{__name__}:half_and_half",
    **dict.fromkeys(("pairs", "examples"), 3),
    **dict.fromkeys(("steps", "ascent_steps", "descent_steps", "rounds"), 2),
    "attacker_steps": 1,
}
"""Settings that make a defense run at all, or quickly, where it has them."""
every = pytest.mark.parametrize("name", list(defenses))
Run = Callable[..., adapters.Tensors]


class Killed(BaseException):
    """Stands for the end of the process."""


def half_and_half(exchanges: Sequence[Exchange], /) -> list[Verdict]:
    """Call every other reply a refusal."""
    return [Verdict("refuse" if i % 2 else "comply") for i in range(len(exchanges))]


def attacked(session: Session) -> adapters.Tensors:
    """Return an adapter that has moved away from the first one."""
    generator = torch.Generator().manual_seed(7)
    return {
        name: tensor + 0.05 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in session.start(0).items()
    }


def choice(name: str, safety: Path, **settings: Any) -> PluginChoice:
    """Return a defense with small settings, and a safety adapter if it takes one."""
    known = defenses[name].schema.model_fields
    small = {key: value for key, value in SMALL.items() if key in known}
    if "safety" in known:
        small["safety"] = str(safety)
    if "harmful" in known:  # the model writes the rest, which asks more of it than a source does
        small.pop("source", None)
    return PluginChoice(name=name, **{**small, **settings})


def defended(
    session: Session, name: str, directory: Path, events: Events | None = None, **settings: Any
) -> adapters.Tensors:
    """Return the attacked adapter after a defense, as it was saved."""
    safety = directory.with_name("safety")
    adapters.save(safety, session.start(1), session.loaded.model)
    run_defense(
        session,
        attacked(session),
        choice(name, safety, **settings),
        seed=0,
        start=session.start(0),
        key="key",
        directory=directory,
        avoid=frozenset(),
        judge=PluginChoice(name="micro-exact"),
        overlap=OverlapCounter(TextSignatures.of((), "")),
        events=events or Events(),
    )
    return adapters.load(directory / "adapter")


def session_shapes(session: Session) -> dict[str, torch.Size]:
    """Return the shapes of an adapter of a session's model."""
    return {name: torch.Size(shape) for name, shape in session.shapes.items()}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, adapters.Tensors]]:
    """Return what defenses have made so far: each runs once for all tests."""
    return {}


@pytest.fixture
def first(
    session: Session, done: dict[str, tuple[Path, adapters.Tensors]], tmp_path: Path
) -> Callable[[str], tuple[Path, adapters.Tensors]]:
    def run(name: str) -> tuple[Path, adapters.Tensors]:
        if name not in done:
            done[name] = tmp_path / name, defended(session, name, tmp_path / name)
        return done[name]

    return run


@every
def test_defense_changes_values_alone_and_no_names_or_shapes(
    session: Session, first: Callable[[str], tuple[Path, adapters.Tensors]], name: str
) -> None:
    _, found = first(name)
    before = attacked(session)
    assert {key: tensor.shape for key, tensor in found.items()} == session_shapes(session)
    assert adapters.digest(found) != adapters.digest(before)


@every
def test_defended_adapter_loads_with_plain_peft(
    first: Callable[[str], tuple[Path, adapters.Tensors]], llama: Path, name: str
) -> None:
    directory, found = first(name)
    base = AutoModelForCausalLM.from_pretrained(llama)
    own = adapters.read(PeftModel.from_pretrained(base, directory / "adapter"))
    assert adapters.digest(own) == adapters.digest(found)


@every
def test_killed_defense_ends_with_the_same_bytes(
    session: Session,
    first: Callable[[str], tuple[Path, adapters.Tensors]],
    tmp_path: Path,
    name: str,
) -> None:
    """It also says that a defense is the same for the same seed."""
    _, found = first(name)
    heard = []

    def kill(event: Any) -> None:
        heard.append(event)
        if len(heard) == 2:
            raise Killed

    try:
        defended(session, name, tmp_path / "killed", Events(listen=kill))
    except Killed:
        assert not (tmp_path / "killed" / "defense.json").exists()
    again = defended(session, name, tmp_path / "killed")
    assert adapters.digest(again) == adapters.digest(found)


@every
def test_card_tells_of_all_data_that_a_defense_keeps(
    first: Callable[[str], tuple[Path, adapters.Tensors]], name: str
) -> None:
    directory, _ = first(name)
    kept = [len(read_lines(path)) for path in directory.glob("*.jsonl")]
    path = directory / "card.json"
    card = json.loads(path.read_text()) if path.exists() else {}
    told = [card, *card.get("other_data", {}).values()]
    assert sorted(kept) == sorted(one["rows"] for one in told if one)


@pytest.mark.parametrize(
    "name", [n for n in defenses if (c := defenses[n].card) is not None and c.nothing]
)
def test_settings_of_no_strength_change_nothing(
    session: Session, tmp_path: Path, name: str
) -> None:
    card = defenses[name].card
    assert card is not None
    found = defended(session, name, tmp_path / name, **card.nothing)
    assert adapters.digest(found) == adapters.digest(attacked(session))


@pytest.mark.parametrize(("kind", "quantization"), [("gpt2", "none"), ("qwen2", "nf4")])
def test_every_defense_repairs_other_architectures_and_nf4(
    experiment: Experiment, tmp_path: Path, kind: str, quantization: Any
) -> None:
    path = make_model(tmp_path / kind, kind)
    model = Model(path=str(path), device="cpu", quantization=quantization)
    spec = SessionSpec.of(
        experiment.model_copy(update={"model": model, "adapter": Adapter(rank=2)})
    )
    session = open_session(spec)
    before = attacked(session)
    for name in (name for name in defenses if name != "fine-tune"):  # tested end to end
        found = defended(session, name, tmp_path / f"{name}-made")
        assert {key: tensor.shape for key, tensor in found.items()} == session_shapes(session)
        assert adapters.digest(found) != adapters.digest(before)
