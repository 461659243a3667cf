"""The contracts of every plug-in kind: value types, shapes, and one registry a kind.

A plug-in author imports this and `fedsafe.objectives`, nothing else of FedSafe.
Positional-only parameters are data, keyword-only parameters are settings. Knows nothing
of any implementation.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fedsafe.contracts.inner_states import Change, DiagnosticTask, InnerStates
from fedsafe.contracts.model import (
    FitReport,
    ModelContext,
    Objective,
    Writer,
)
from fedsafe.contracts.tasks import Complete, Defended, DefenseTask, LocalTask, ShieldChoice
from fedsafe.contracts.tensors import Adapter, Batch, Factors
from fedsafe.contracts.text import (
    Ask,
    Exchange,
    Measured,
    Outcome,
    Prompt,
    Purpose,
    Rendered,
    Sample,
    Segment,
    Turn,
    Verdict,
)
from fedsafe.contracts.updates import Aggregate, Knowledge, State, Updates
from fedsafe.plugins import Registry
from fedsafe.plugins.defense_card import DefenseCard

if TYPE_CHECKING:
    from torch import Tensor

# --- plug-in signatures ---------------------------------------------------------------

Rule = Callable[..., Aggregate]
"""``(Updates, State, /, *, settings) -> Aggregate``"""
Filter = Callable[..., Updates]
"""``(Updates, /, *, settings) -> Updates``

Traits: ``mixing``, it works on rows that nobody formed; ``root``, it needs the server's own
update unless a setting names a file in its place; ``modules``, it works on LoRA modules, and so
not on one tensor alone; ``adds``, it adds rows below those of the clients; ``memory``, it
remembers clients (``Updates.memory``), and comes before the filters without it."""
Optimizer = Callable[..., "tuple[Tensor, State]"]
"""``(update, State, /, *, settings) -> (update, State)``: the server's step after the rule."""
Generator = Callable[..., Iterator[Sample]]
"""``(Writer, random.Random, /, *, settings) -> Iterator[Sample]``; endless or finite."""
LocalAlgorithm = Callable[..., None]
"""``(ModelContext, LocalTask, /, *, settings) -> None``: trains the adapter in place.

Trait ``malicious``: for attackers of a declared red team only; ``poison``: it trains on
``LocalTask.poison``."""
UpdateAttack = Callable[..., "Tensor"]
"""``(update, Knowledge, /, *, settings) -> update``, both float32 (d,).

Traits say the most that it can know beside its own update: ``benign``, ``colluders``,
``honest``, ``rule``; a setting ``knows`` narrows the first three (`KNOWS`). One that needs none
of the last three runs at the client, the others at the server of a declared red team or at the
attackers' own machines (``attack.collusion``)."""
KNOWS: dict[str, frozenset[str]] = {
    "update": frozenset(),
    "own": frozenset({"benign"}),
    "colluders": frozenset({"benign", "colluders"}),
    "honest": frozenset({"honest"}),
    "all": frozenset({"benign", "colluders", "honest"}),
}
"""What a value of an update attack's setting ``knows`` lets it know."""
Defense = Callable[..., Defended]
"""``(ModelContext, DefenseTask, /, *, settings) -> Defended``"""
Shield = Callable[..., list[str]]
"""``(Complete, Sequence[Sample], Sequence[str], /, *, settings) -> list[str]``: replies to samples
with prefills, generated with the first argument as often as it needs to."""
Judge = Callable[..., list[Verdict]]
"""``(Sequence[Exchange], /, *, settings) -> list[Verdict]``, or with the model whose replies are
judged: ``(ModelContext, Sequence[Exchange], /, *, settings) -> list[Verdict]``."""
Condition = Callable[..., list[Ask]]
"""``(Sequence[Prompt], /, *, settings) -> list[Ask]``: which prompts are asked, and how.

Traits ``red-team``: an attack, for declared red teams only; ``examples``: it needs the requests of
``safety_probe``."""
Measure = Callable[..., "Measured | None"]
"""``(Sequence[tuple[Exchange, Verdict]], /, *, settings) -> Measured | None``, of the exchanges of
one condition; None where none of them concerns it."""
Diagnostic = Callable[..., "Mapping[str, float] | float | None"]
"""``(ModelContext, DiagnosticTask, /, *, settings) -> Mapping[str, float] | float | None``: a
number for each prompt that concerns it, by the prompt's id, or one alone; None: nothing does.

Traits: ``higher`` or ``lower`` is better, ``safety`` or ``usefulness``, ``number`` for what is no
share, as measures have them; ``examples``: it needs the requests of ``safety_probe``."""
Suite = Callable[..., list[Prompt]]
"""``(seed, /, *, settings) -> list[Prompt]``"""
Source = Callable[..., list[Sample]]
"""``(seed, /, *, settings) -> list[Sample]``"""
Template = Callable[..., Rendered]
"""``(tokenizer, Sample, /, *, settings) -> Rendered``"""
Partition = Callable[..., list[list[int]]]
"""``(Sequence[Sample], clients, random.Random, /, *, settings) -> indices of each client``"""

rules: Registry[Rule] = Registry("rule", "strategies.rules", "fedsafe.rules")
filters: Registry[Filter] = Registry("filter", "strategies.filters", "fedsafe.filters")
optimizers: Registry[Optimizer] = Registry(
    "optimizer", "strategies.optimizers", "fedsafe.optimizers"
)
objectives: Registry[Callable[..., "tuple[Tensor, float]"]] = Registry(
    "objective", "fedsafe.objectives", "fedsafe.objectives"
)
algorithms: Registry[LocalAlgorithm] = Registry(
    "algorithm", "clients.algorithms", "fedsafe.algorithms"
)
update_attacks: Registry[UpdateAttack] = Registry(
    "update attack", "fedsafe.attacks", "fedsafe.update_attacks"
)
generators: Registry[Generator] = Registry("generator", "fedsafe.attacks", "fedsafe.generators")
defenses: Registry[Defense] = Registry("defense", "fedsafe.defenses", "fedsafe.defenses")
shields: Registry[Shield] = Registry("shield", "fedsafe.shields", "fedsafe.shields")
conditions: Registry[Condition] = Registry(
    "condition", "fedsafe.evaluation.conditions", "fedsafe.conditions"
)
measures: Registry[Measure] = Registry("measure", "fedsafe.evaluation.measures", "fedsafe.measures")
diagnostics: Registry[Diagnostic] = Registry(
    "diagnostic", "fedsafe.diagnostics", "fedsafe.diagnostics"
)
judges: Registry[Judge] = Registry("judge", "fedsafe.evaluation.judges", "fedsafe.judges")
suites: Registry[Suite] = Registry("suite", "fedsafe.evaluation.suites", "fedsafe.suites")
sources: Registry[Source] = Registry("source", "fedsafe.data.sources", "fedsafe.sources")
templates: Registry[Template] = Registry("template", "fedsafe.data.templates", "fedsafe.templates")
partitions: Registry[Partition] = Registry(
    "partition", "fedsafe.data.partition", "fedsafe.partitions"
)
REGISTRIES: dict[str, Registry[Any]] = {
    registry.kind: registry
    for registry in (
        rules,
        filters,
        optimizers,
        objectives,
        algorithms,
        update_attacks,
        generators,
        defenses,
        shields,
        conditions,
        measures,
        diagnostics,
        judges,
        suites,
        sources,
        templates,
        partitions,
    )
}

__all__ = [
    "KNOWS",
    "REGISTRIES",
    "Adapter",
    "Aggregate",
    "Ask",
    "Batch",
    "Change",
    "Complete",
    "Condition",
    "Defended",
    "Defense",
    "DefenseCard",
    "DefenseTask",
    "Diagnostic",
    "DiagnosticTask",
    "Exchange",
    "Factors",
    "Filter",
    "FitReport",
    "Generator",
    "InnerStates",
    "Judge",
    "Knowledge",
    "LocalAlgorithm",
    "LocalTask",
    "Measure",
    "Measured",
    "ModelContext",
    "Objective",
    "Optimizer",
    "Outcome",
    "Partition",
    "Prompt",
    "Purpose",
    "Rendered",
    "Rule",
    "Sample",
    "Segment",
    "Shield",
    "ShieldChoice",
    "Source",
    "State",
    "Suite",
    "Template",
    "Turn",
    "UpdateAttack",
    "Updates",
    "Verdict",
    "Writer",
    "algorithms",
    "conditions",
    "defenses",
    "diagnostics",
    "filters",
    "generators",
    "judges",
    "measures",
    "objectives",
    "optimizers",
    "partitions",
    "rules",
    "shields",
    "sources",
    "suites",
    "templates",
    "update_attacks",
]
