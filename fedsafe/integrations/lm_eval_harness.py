"""lm-eval on a run's models: the live base model with the adapter of each stage.

Tasks are lm-eval's own: YAML files on local data, multiple choice (MMLU, ARC) or generated
(GSM8K), a directory of them, or names that lm-eval ships. Gao et al., *The Language Model
Evaluation Harness*, https://github.com/EleutherAI/lm-evaluation-harness.
"""

import importlib
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fedsafe.app import activate
from fedsafe.contracts import Rendered, Sample, Turn
from fedsafe.errors import ConfigError, RunError, reason_of
from fedsafe.integrations.lm_eval_tasks import load_tasks, task_manager
from fedsafe.integrations.packages import optional_package
from fedsafe.models import adapters
from fedsafe.runs.files import write_json
from fedsafe.runs.layout import RunFile
from fedsafe.runs.lm_eval_results import read_lm_eval, task_results
from fedsafe.runs.records import Stage
from fedsafe.runs.store import Store
from fedsafe.suggestions import suggestion
from fedsafe.training.session import Session, open_session

GIT: Final = "get_git_commit_hash"
"""lm-eval's function that runs git, by its name in the module that calls it."""


@dataclass(frozen=True)
class HarnessOptions:
    """How lm-eval asks.

    Attributes:
        limit: Examples of each task; None: all.
        few_shot: Examples shown before each question; None: as the task says.
        batch_size: Sequences at a time.
        template: Whether questions go through the experiment's template; else they are put as
            the task writes them, as lm-eval does by default.
    """

    limit: int | None = None
    few_shot: int | None = None
    batch_size: int = 8
    template: bool = False


def run_lm_eval(
    directory: Path,
    tasks: Sequence[str],
    stages: Sequence[str] = (),
    options: HarnessOptions | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Evaluate stages of a run on lm-eval's tasks; results are added to ``lm-eval.json``.

    Args:
        directory: A run directory.
        tasks: YAML files, directories of them, or names that lm-eval knows. Data files that a
            task names are looked for beside it, then in the current directory.
        stages: Names of stages; none: the last one.
        options: How to ask.
        tell: Called with a sentence when a stage begins.

    Returns:
        What the file holds: ``{"stages": {stage: {"adapter", "tasks": {task: ...}}}}``.

    Raises:
        ConfigError: There is no such stage or task.
        DataError: A task cannot be loaded.
        MissingDependencyError: The package lm_eval is not installed.
        RunError: It is no run directory, or lm-eval failed.
    """
    _quiet()
    harness = optional_package("lm_eval", extra="lm-eval", purpose="lm-eval")
    activate()
    store, options = Store(directory), options or HarnessOptions()
    chosen = _stages(store, stages)
    known = read_lm_eval(directory)
    loaded = load_tasks(tasks)
    session = open_session(store.experiment, trains=False)
    model = _model(session, options)
    for stage in chosen:
        tell(f"{stage.name}: {len(loaded)} lm-eval task(s)")
        session.put(adapters.load(directory / stage.path))
        found = _evaluate(harness, model, loaded, options)
        before = known["stages"].get(stage.name, {})
        known["stages"][stage.name] = _added(before, stage, found, harness.__version__)
        write_json(directory / RunFile.LM_EVAL, known)
    return known


def _added(
    before: Mapping[str, Any], stage: Stage, found: Mapping[str, dict[str, Any]], version: str
) -> dict[str, Any]:
    """Return a stage's results with new ones; those of another adapter are dropped."""
    same = before.get("tasks", {}) if before.get("adapter") == stage.adapter else {}
    return {"adapter": stage.adapter, "lm_eval": version, "tasks": {**same, **found}}


def _stages(store: Store, names: Sequence[str]) -> list[Stage]:
    summary = store.summary()
    done = [] if summary is None else [one for one in summary.stages if one.status == "done"]
    if not done:
        raise RunError(
            f"{store.directory} has no finished stage yet. Go on with `fedsafe resume "
            f"{store.directory}`."
        )
    by_name = {stage.name: stage for stage in done}
    for name in names:
        if name not in by_name:
            raise ConfigError(
                f"--stage {name}: the run has no such stage.{suggestion(name, list(by_name))} It "
                f"has {', '.join(by_name)}."
            )
    return [by_name[name] for name in dict.fromkeys(names)] or done[-1:]


def _model(session: Session, options: HarnessOptions) -> Any:
    """Return lm-eval's wrapper around the session's PEFT model."""
    hf = optional_package("lm_eval.models.huggingface", extra="lm-eval", purpose="lm-eval")
    loaded = session.loaded

    class TemplatedModel(hf.HFLM):  # type: ignore[name-defined, misc]
        """The model asked as it was trained: in the experiment's template."""

        def apply_chat_template(
            self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
        ) -> str:
            return rendered(session.template, chat_history)

    kind = TemplatedModel if options.template else hf.HFLM
    return kind(
        pretrained=loaded.model,
        tokenizer=loaded.tokenizer,
        backend="causal",
        batch_size=options.batch_size,
        max_length=session.max_length if loaded.positions is None else loaded.positions[0],
        trust_remote_code=False,
        # The template's text has what the model was trained with at its beginning.
        **({"add_bos_token": False} if options.template else {}),
    )


def rendered(template: Callable[[Sample], Rendered], history: Sequence[Mapping[str, str]]) -> str:
    """Return a conversation as the text that asks for its next reply, or goes on with it."""
    system = "\n".join(one["content"] for one in history if one["role"] == "system")
    turns = [one for one in history if one["role"] != "system"]
    begun = turns.pop()["content"] if turns and turns[-1]["role"] == "assistant" else ""
    asked = turns.pop()["content"] if turns else ""
    pairs = zip(turns[::2], turns[1::2], strict=False)
    earlier = tuple(Turn(one["content"], other["content"]) for one, other in pairs)
    sample = Sample(asked, "", system=system, history=earlier)
    return template(sample).prompt + begun


def _evaluate(
    harness: Any, model: Any, tasks: Sequence[Any], options: HarnessOptions
) -> dict[str, dict[str, Any]]:
    # lm-eval draws its bars in a log, too, whatever tqdm is told; failures are exceptions.
    quiet = nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO())
    try:
        with quiet, _without_git():
            found = harness.simple_evaluate(
                model=model,
                tasks=list(tasks),
                num_fewshot=options.few_shot,
                batch_size=options.batch_size,
                limit=options.limit,
                log_samples=False,
                apply_chat_template=options.template,
                task_manager=task_manager(),  # else it reads the thousands that it ships
            )
    except Exception as error:  # noqa: BLE001 - whatever a task's code or data brings about
        raise RunError(
            f"lm-eval failed: {type(error).__name__}: {reason_of(error, 300)}."
        ) from None
    asked = {"limit": options.limit, "template": options.template}
    return {task: {**task_results(found, task), **asked} for task in found["results"]}


@contextmanager
def _without_git() -> Iterator[None]:
    """Keep lm-eval from asking git for the commit of the current directory.

    That commit says nothing of the run and is not kept. Where there is no repository, git itself
    writes "fatal: not a git repository" to the terminal, past any redirection in this process.
    """
    evaluator = importlib.import_module("lm_eval.evaluator")
    asks = getattr(evaluator, GIT, None)
    if asks is None:
        yield
        return
    setattr(evaluator, GIT, lambda: None)
    try:
        yield
    finally:
        setattr(evaluator, GIT, asks)


def _quiet() -> None:
    """Keep lm-eval from writing over what a command prints, and libraries from calling home."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.stderr.isatty():  # bars fill a log
        os.environ.setdefault("TQDM_DISABLE", "1")
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    for name in ("lm_eval", "lm-eval"):
        logging.getLogger(name).setLevel(logging.ERROR)
