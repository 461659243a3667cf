"""Files of 250 lines, functions of 40, counted whole: what does not fit is two things."""

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("fedsafe", "clients", "server", "strategies")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 250, 40
ALLOWED_FILES: dict[str, int] = {}
"""Files that may be longer, with their reason beside them."""
ALLOWED_FUNCTIONS: dict[str, int] = {
    "clients/local_training.py:work": 44,
    "fedsafe/cli/certs.py:init": 45,
    "fedsafe/cli/align.py:align": 60,
    "fedsafe/cli/client.py:client": 65,
    "fedsafe/cli/matrix.py:run": 46,
    "fedsafe/cli/runs.py:defend": 47,
    "fedsafe/cli/lm_eval.py:lm_eval": 51,
    "fedsafe/cli/runs.py:run": 54,
    "fedsafe/cli/seeds.py:run_with_seeds": 48,
    "fedsafe/cli/server.py:server": 86,
    "fedsafe/data/columns.py:examples": 46,
    "fedsafe/data/conversations.py:conversation": 41,
    "fedsafe/data/tokenisation.py:tokenise": 50,
    "fedsafe/defenses/circuit_breakers.py:circuit_breakers": 53,
    "fedsafe/defenses/derta.py:derta": 55,
    "fedsafe/defenses/secret_alignment.py:backdoor_enhanced_alignment": 56,
    "fedsafe/defenses/fine_tune.py:fine_tune": 53,
    "fedsafe/defenses/purple_teaming.py:purple_teaming": 44,
    "fedsafe/defenses/resta.py:resta": 45,
    "fedsafe/defenses/safe_lora.py:safe_lora": 43,
    "fedsafe/defenses/safe_patching.py:safe_patching": 45,
    "fedsafe/defenses/self_refined.py:self_refined": 41,
    "fedsafe/deployment/server/certs.py:renew": 42,
    "fedsafe/deployment/server/starting_keys.py:starting_keys": 41,
    "fedsafe/cli/evaluation.py:evaluate": 54,
    "fedsafe/evaluation/evaluate.py:evaluate": 45,
    "fedsafe/evaluation/judges/endpoint.py:endpoint": 56,
    "fedsafe/evaluation/judges/language_model.py:language_model": 68,
    "fedsafe/evaluation/paired.py:clustered_bootstrap": 46,
    "fedsafe/matrix/results.py:table": 43,
    "fedsafe/integrations/lm_eval_harness.py:run_lm_eval": 43,
    "fedsafe/models/base.py:load": 60,
    "fedsafe/pipeline/opening.py:open_run": 48,
    "fedsafe/pipeline/defend.py:defend_adapter": 41,
    "fedsafe/pipeline/run_defense.py:run_defense": 62,
    "fedsafe/pipeline/run_state.py:finish": 46,
    "fedsafe/pipeline/seeds.py:aggregate_seeds": 42,
    "fedsafe/pipeline/stages.py:run_pipeline": 46,
    "fedsafe/training/context.py:fit": 42,
    "fedsafe/training/loop.py:_step": 41,
    "fedsafe/training/loop.py:train": 54,
    "server/cohort_replies.py:collect_replies": 45,
    "strategies/api.py:aggregate": 66,
    "strategies/filters/quarantine.py:quarantine": 43,
    "strategies/filters/safe_lora.py:safe_lora": 44,
    "strategies/rules/lora.py:lora_product": 44,
}
"""Functions whose many documented parameters make them longer; none of them may grow."""


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


class Measured(NamedTuple):
    """What a module is measured by."""

    lines: int
    functions: list[tuple[str, int]]
    """All lines of each function, signature and docstring included."""
    described: bool
    """Whether it has a docstring."""


@cache
def _measured(path: Path) -> Measured:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    functions = [
        (f"{_name(path)}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return Measured(len(text.splitlines()), functions, bool(ast.get_docstring(tree)))


def test_files_are_short() -> None:
    sizes = {_name(path): _measured(path).lines for path in FILES}
    assert {n: s for n, s in sizes.items() if s > ALLOWED_FILES.get(n, LONGEST_FILE)} == {}


def test_functions_are_short() -> None:
    sizes = [pair for path in FILES for pair in _measured(path).functions]
    assert [(n, s) for n, s in sizes if s > ALLOWED_FUNCTIONS.get(n, LONGEST_FUNCTION)] == []


def test_no_exception_is_left_over() -> None:
    functions = {name for path in FILES for name, _ in _measured(path).functions}
    assert set(ALLOWED_FILES) <= {_name(path) for path in FILES}
    assert set(ALLOWED_FUNCTIONS) <= functions


def test_modules_say_what_they_are() -> None:
    assert [_name(path) for path in FILES if not _measured(path).described] == []


def test_modules_have_names_that_flower_bundles() -> None:
    names = [_name(path) for path in FILES]
    assert [n for n in names if "/test_" in n or n.endswith("_test.py")] == []


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "manager", "misc"])
def test_no_module_is_a_drawer(name: str) -> None:
    assert not [_name(path) for path in FILES if path.stem == name]
