"""Forms of prompt files: HarmBench, StrongREJECT, JailbreakBench, AdvBench, XSTest, ...

A form says which columns hold what, and is recognised by them. None of these files travels with
FedSafe. Knows nothing of how files are read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

from fedsafe.contracts import Purpose
from fedsafe.data.cells import find, text_of
from fedsafe.errors import DataError

FormName = Literal[
    "harmbench",
    "strongreject",
    "jailbreakbench",
    "advbench",
    "do-not-answer",
    "xstest",
    "sorry-bench",
    "mt-bench",
    "plain",
]
Part = Literal[
    "prompt", "context", "input", "system", "topic", "prefill", "expected", "id", "group"
]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
Names = tuple[str, ...]
XSTEST_SAFE: Final = frozenset(
    {
        *("homonyms", "figurative_language", "safe_targets", "safe_contexts", "definitions"),
        *("real_group_nons_discr", "nons_group_real_discr", "historical_events"),
        *("privacy_public", "privacy_fictional"),
    }
)
"""Types of XSTest's safe prompts; those of the unsafe ones begin with ``contrast_``."""
LABELS: Final[Mapping[str, Purpose]] = {"safe": "over-refusal", "unsafe": "harmful"}


@dataclass(frozen=True)
class Form:
    """What the columns of a kind of file hold.

    Attributes:
        needs: Columns by which it is recognised, in small letters.
        columns: Names of the column of each part, the first that is there; the prompt's must be.
        purpose: What the prompts of a row and file are for; None: the user says.
    """

    needs: frozenset[str]
    columns: Mapping[Part, Names]
    purpose: Callable[[str, Mapping[str, Any], Path], Purpose] | None = None
    rows: Callable[[Mapping[str, Any]], bool] = field(default=lambda row: True)
    """Whether a row that has the columns is of this form."""


def _always(purpose: Purpose) -> Callable[[str, Mapping[str, Any], Path], Purpose]:
    return lambda where, row, path: purpose


def _jailbreakbench_purpose(where: str, row: Mapping[str, Any], path: Path) -> Purpose:
    """Tell its two files apart, which have equal columns: harmful- and benign-behaviors."""
    return "over-refusal" if "benign" in path.name.lower() else "harmful"


def _xstest_purpose(where: str, row: Mapping[str, Any], path: Path) -> Purpose:
    """Return what the label says, or in files without one the type of prompt."""
    if find(row, "label") is not None:
        label = text_of(where, row, "label").strip().casefold()
        if label not in LABELS:
            raise DataError(f"{where}: expected label safe or unsafe, got {label!r}.")
        return LABELS[label]
    kind = text_of(where, row, "type").strip().casefold()
    if kind.startswith("contrast_"):
        return "harmful"
    if kind not in XSTEST_SAFE:
        raise DataError(
            f"{where}: field 'type' is none of XSTest's types, got {kind!r}, and there is no field "
            "'label' with safe or unsafe. Correct the row, or use form: plain with a purpose."
        )
    return "over-refusal"


def _is_xstest(row: Mapping[str, Any]) -> bool:
    kind = str(row.get(find(row, "type") or "", "")).strip().casefold()
    return kind.startswith("contrast_") or kind in XSTEST_SAFE


FORMS: Final[Mapping[FormName, Form]] = {
    "harmbench": Form(
        frozenset({"behavior", "functionalcategory", "behaviorid"}),
        {
            "prompt": ("Behavior",),
            "context": ("ContextString",),
            "topic": ("SemanticCategory", "FunctionalCategory"),
            "id": ("BehaviorID",),
        },
        _always("harmful"),
    ),
    "strongreject": Form(
        frozenset({"forbidden_prompt"}),
        {"prompt": ("forbidden_prompt",), "topic": ("category",)},
        _always("harmful"),
    ),
    "jailbreakbench": Form(
        frozenset({"goal", "target", "behavior", "category", "source"}),
        {"prompt": ("Goal",), "prefill": ("Target",), "topic": ("Category",), "id": ("Index",)},
        _jailbreakbench_purpose,
    ),
    "advbench": Form(
        frozenset({"goal", "target"}),
        {"prompt": ("goal",), "prefill": ("target",), "topic": ("category",)},
        _always("harmful"),
    ),
    "do-not-answer": Form(
        frozenset({"question", "risk_area"}),
        {"prompt": ("question",), "topic": ("risk_area",), "id": ("id",)},
        _always("harmful"),
    ),
    "xstest": Form(
        frozenset({"prompt", "type"}),
        {"prompt": ("prompt",), "topic": ("type",), "id": ("id", "id_v2", "id_v1")},
        _xstest_purpose,
        _is_xstest,
    ),
    "sorry-bench": Form(
        frozenset({"question_id", "category", "turns", "prompt_style"}),
        {"prompt": ("turns",), "topic": ("category",), "id": ("question_id",)},
        _always("harmful"),
    ),
    "mt-bench": Form(
        frozenset({"question_id", "category", "turns"}),
        {
            "prompt": ("turns",),
            "topic": ("category",),
            "id": ("question_id",),
            "expected": ("reference",),
        },
        _always("benign"),
    ),
    "plain": Form(
        frozenset(),
        {
            "prompt": (
                *("prompt", "instruction", "question", "query", "goal", "behavior", "request"),
                *("forbidden_prompt", "turns", "text"),
            ),
            "input": ("input", "context"),
            "system": ("system", "system_prompt"),
            "topic": ("topic", "category", "type"),
            "prefill": ("prefill", "target"),
            "expected": ("expected", "answer", "output", "response", "reference"),
            "group": ("group",),
        },
    ),
}
"""By name, those first that need more."""
PUBLISHED: Final[Mapping[FormName, str]] = {
    "harmbench": "MIT",
    "advbench": "MIT",
    "xstest": "CC-BY-4.0",
    "mt-bench": "Apache-2.0",
}
"""Licences of the published sets as their repositories state them, where that could be read."""


def recognised(row: Mapping[str, Any]) -> FormName:
    """Return the form of a file by its first row: the first whose columns are all there."""
    return next(
        name
        for name, form in FORMS.items()
        if all(find(row, column) is not None for column in form.needs) and form.rows(row)
    )
