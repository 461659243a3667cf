"""Every file that a run leaves at the top of its directory has a declared name."""

import ast
from pathlib import Path

import pytest

from fedsafe.cli import main
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.runs.events import Events
from fedsafe.runs.files import write_lines
from fedsafe.runs.layout import is_run_file
from fedsafe.runs.store import Store
from server.randomness import Draws
from server.transport.allowlist import Allowed
from server.transport.key_numbers import KeyNumbers
from server.transport.reply_journal import ReplyJournal
from tests.doubles.runs import run_inline

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def run(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run with every stage, exported, reported, and as a server's machine."""
    home = tmp_path_factory.mktemp("everything")
    pairs = [{"instruction": f"ask {n}", "response": f"reply {n}"} for n in range(8)]
    write_lines(home / "pairs.jsonl", pairs)
    source = {"name": "jsonl", "path": str(home / "pairs.jsonl")}
    values = experiment.model_dump(mode="json")
    values["federation"] |= {"rounds": 1}
    values |= {
        "red_team": True,
        "attack": {"malicious": 1, "behaviour": "sign-flip"},
        "alignment": {"source": source, "steps": 1, "batch_size": 2},
        "defenses": ["tests.doubles.plugins:shielding"],
        "second_attack": {"rounds": 1, "prompts": 1},
    }
    everything = validate(values)
    store = Store(home / "run")
    run_inline(everything, store.directory)
    _as_a_deployment(store)
    for command in ("report", "report --reveal", "export --to jsonl"):
        name, *options = command.split()
        assert main([name, str(store.directory), *options]) == 0
    return store.directory


def _as_a_deployment(store: Store) -> None:
    """Write what a server writes beside it whose clients are on machines of their own."""
    Draws.of(0, store)
    numbers = KeyNumbers(store)
    numbers.assign([Allowed(0, "site", "", b"key")])
    numbers.save()
    store.write_members([])
    ReplyJournal(store.directory, Events()).begin(0, "message")  # and is killed
    ReplyJournal(store.directory, Events())


def test_whole_run_leaves_only_files_of_declared_names(run: Path) -> None:
    names = sorted(path.name for path in run.iterdir())
    assert [name for name in names if not is_run_file(name)] == []
    looked_at = {"alignment", "control", "second-attacks", "exports", "keys.jsonl", "randomness"}
    assert looked_at <= {*names}


@pytest.mark.parametrize("package", ["fedsafe", "server", "clients"])
def test_no_name_in_a_run_directory_is_written_where_it_is_used(package: str) -> None:
    found = []
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                home, name = ast.unparse(node.left), getattr(node.right, "value", None)
                if home.endswith("store.directory") and isinstance(name, str):
                    found += [f"{path.name}:{node.lineno} {name}"] * (not name.startswith("."))
    assert found == []


def test_whole_run_can_be_removed(run: Path) -> None:
    assert main(["runs", "rm", str(run), "--yes"]) == 0
    assert not run.exists()
