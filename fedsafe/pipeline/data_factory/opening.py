"""Open a data factory: load model and adapter, and read what its pairs are compared with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsafe.contracts import Sample, sources
from fedsafe.data.text_files import suffix_of
from fedsafe.data.text_signatures import TextSignatures
from fedsafe.evaluation.overlap import signatures
from fedsafe.experiment.load import load
from fedsafe.experiment.schema import Adapter, Experiment, Model, PluginChoice, Training
from fedsafe.models import adapters
from fedsafe.models.start_adapter import check_start
from fedsafe.pipeline.data_factory.factory import BATCH, Factory
from fedsafe.pipeline.data_factory.recipe import Kind, Recipe, recipe_for
from fedsafe.training.session import Session, resident
from fedsafe.training.session_spec import SessionSpec

LONGEST = 1024
"""Tokens of an instruction with its reply."""


@dataclass(frozen=True)
class Inputs:
    """What a data set is asked for with.

    Attributes:
        kind: attack, refusals or helpful.
        model: Path or name of the model that writes.
        adapter: Directory of the adapter that it writes with.
        experiment: Preset or file whose evaluation prompts no pair repeats.
        compared: Files of other data, whose overlap is counted.
        given: Fields of the recipe; None: the default.
    """

    kind: Kind
    model: str
    adapter: Path | None
    experiment: str | None
    compared: tuple[str, ...]
    given: Mapping[str, Any]


def open_factory(inputs: Inputs) -> Factory:
    """Return the factory, its model loaded.

    Raises:
        ConfigError: Words are missing, or the experiment is none.
        DataError: A file cannot be read.
        ModelError: Model or adapter cannot be loaded, or do not go together.
    """
    recipe = recipe_for(inputs.kind, inputs.model, dict(inputs.given))
    compared = {text: _read(text) for text in inputs.compared}
    avoid = _avoid(inputs.experiment)
    session, digest = _session(inputs, recipe)
    return Factory(recipe, session, inputs.model, digest, avoid, compared)


def _avoid(experiment: str | None) -> TextSignatures | None:
    return None if experiment is None else signatures(load(experiment))


def _session(inputs: Inputs, recipe: Recipe) -> tuple[Session, str]:
    """Return the model with the adapter in it, and the adapter's sha256; "" without one."""
    adapter, model = Adapter(), Model(path=inputs.model)
    if inputs.adapter is not None:
        home = inputs.adapter.expanduser()
        adapter = adapters.spec_of(home)
        started = adapter.model_copy(update={"start": str(home)})
        check_start(Experiment(model=model, adapter=started))
    spec = SessionSpec(
        model=model,
        adapter=adapter,
        template=PluginChoice(name="chat"),
        max_length=LONGEST,
        training=Training(),
        max_new_tokens=recipe.max_new_tokens,
        batch_size=BATCH,
    )
    session = resident(spec, trains=False)[0]
    tensors = session.start(0) if inputs.adapter is None else adapters.load(home)
    session.put(tensors)
    return session, "" if inputs.adapter is None else adapters.digest(tensors)


def _read(text: str) -> list[Sample]:
    """Read a file of samples by its ending."""
    path = Path(text).expanduser()
    source = sources[suffix_of(path).lstrip(".") or "json"]
    return list(source.configure({"path": path})(0))
