"""Files of 250 lines, functions of 40, counted whole: what does not fit is two things."""

import ast
from collections.abc import Iterator
from pathlib import Path

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
    "fedsafe/cli/acceptance.py:accept": 54,
    "fedsafe/cli/runs.py:defend": 58,
    "fedsafe/cli/lm_eval.py:lm_eval": 51,
    "fedsafe/cli/runs.py:run": 54,
    "fedsafe/cli/seeds.py:run_with_seeds": 48,
    "fedsafe/cli/server.py:server": 86,
    "fedsafe/data/columns.py:examples": 46,
    "fedsafe/data/conversations.py:conversation": 41,
    "fedsafe/data/tokenisation.py:tokenise": 50,
    "fedsafe/defenses/circuit_breakers.py:circuit_breakers": 53,
    "fedsafe/defenses/derta.py:derta": 57,
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
    "fedsafe/matrix/library.py:run_matrix": 44,
    "fedsafe/matrix/results.py:table": 43,
    "fedsafe/integrations/lm_eval_harness.py:run_lm_eval": 43,
    "fedsafe/models/base.py:load": 60,
    "fedsafe/pipeline/opening.py:open_run": 59,
    "fedsafe/pipeline/defend.py:defend_adapter": 41,
    "fedsafe/pipeline/run_defense.py:run_defense": 62,
    "fedsafe/pipeline/run_state.py:finish": 48,
    "fedsafe/pipeline/seeds.py:aggregate_seeds": 42,
    "fedsafe/pipeline/stages.py:run_pipeline": 47,
    "fedsafe/training/context.py:fit": 42,
    "fedsafe/training/loop.py:_step": 41,
    "fedsafe/training/loop.py:train": 54,
    "server/cohort_replies.py:collect_replies": 45,
    "strategies/api.py:aggregate": 66,
    "strategies/filters/quarantine.py:quarantine": 43,
    "strategies/filters/safe_lora.py:safe_lora": 44,
    "strategies/rules/lora.py:lora_product": 45,
}
"""Functions whose many documented parameters make them longer; none of them may grow."""


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each function and all of its lines, signature and docstring included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{_name(path)}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_file_is_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= ALLOWED_FILES.get(_name(path), LONGEST_FILE)


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_functions_are_short(path: Path) -> None:
    long = {
        name: lines
        for name, lines in _functions(path)
        if lines > ALLOWED_FUNCTIONS.get(name, LONGEST_FUNCTION)
    }
    assert not long


def test_no_exception_is_left_over() -> None:
    files = {_name(path) for path in FILES}
    functions = {name for path in FILES for name, _ in _functions(path)}
    assert set(ALLOWED_FILES) <= files
    assert set(ALLOWED_FUNCTIONS) <= functions


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_module_has_a_name_that_flower_bundles(path: Path) -> None:
    assert not path.name.startswith("test_")
    assert not path.name.endswith("_test.py")


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "manager", "misc"])
def test_no_module_is_a_drawer(name: str) -> None:
    assert not [_name(path) for path in FILES if path.stem == name]
