"""Flower's private interface is used in `fedsafe.flower` alone: names, attributes, patches."""

import ast
import importlib
from functools import cache
from pathlib import Path

import pytest

from fedsafe.flower.internals import HOMES

ROOT = Path(__file__).parents[2]
HOME = ROOT / "fedsafe" / "flower"
FILES = sorted(
    path
    for package in ("fedsafe", "clients", "server", "strategies")
    for path in (ROOT / package).rglob("*.py")
)
OUTSIDE = [path for path in FILES if not path.is_relative_to(HOME)]
PUBLIC = ("flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.serverapp.strategy")
"""Modules that Flower's documentation describes; of each, the names in its ``__all__``."""
HANDLED = {
    "HttpGrid", "InMemoryGrid", "InMemoryLinkState", "PROTOBUF_REQUEST_TYPES", "TaskIdentity",
    "configure_app", "create_app", "generate_rand_int_from_bytes",
}  # fmt: skip
"""Private names whose attributes are read or set: only functions of `fedsafe.flower` do."""


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _imports(path: Path) -> list[tuple[str, str]]:
    """Return (module, name) of each import; name "" for a module that is imported whole."""
    found: list[tuple[str, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [(node.module, alias.name) for alias in node.names]
    return found


def _is_flower(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] == "flwr"


def _private(path: Path) -> list[str]:
    return [
        f"{module} {name}".strip()
        for module, name in _imports(path)
        if _is_flower(module)
        and not (module in PUBLIC and name in importlib.import_module(module).__all__)
    ]


def test_only_public_names_of_flower_are_imported() -> None:
    assert {_name(path): _private(path) for path in OUTSIDE if _private(path)} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import flwr",
        "import flwr.supercore.run as run",
        "from flwr import superlink",
        "from flwr.common import Message",
        "from flwr.app.message import make_message",
        "from flwr.app import make_message",
        "def late():\n    from flwr.proto.node_pb2 import Node",
    ],
)
def test_a_private_name_would_be_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(line)
    assert len(_private(tmp_path / "x.py")) == 1


def test_private_names_are_imported_in_one_file() -> None:
    assert [_name(path) for path in FILES if _private(path)] == ["fedsafe/flower/internals.py"]


def _hidden(attribute: str) -> bool:
    """Return whether an attribute is private; Python's own, as ``__name__``, are not."""
    return attribute == "__dict__" or (attribute[:1] == "_" and attribute[:2] != "__")


def _reaches(path: Path) -> list[str]:
    """Return where a file that knows Flower reaches into it by attribute, string or patch."""
    taken = {
        name
        for module, name in _imports(path)
        if _is_flower(module) or module == "fedsafe.flower.internals"
    }
    if not taken and not any(_is_flower(module) for module, _ in _imports(path)):
        return []
    found = [f"import {name}" for name in taken & HANDLED]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        text = ast.unparse(node) if isinstance(node, ast.expr) else ""
        if isinstance(node, ast.Attribute):
            mine = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls", "os"}
            hidden = _hidden(node.attr) and not mine
            root = text.split(".")[0].split("(")[0]
            if hidden or (isinstance(node.ctx, ast.Store | ast.Del) and root in taken):
                found.append(text)
        elif isinstance(node, ast.Call) and text.startswith(
            ("setattr(", "delattr(", "getattr(", "hasattr(", "vars(")
        ):
            named = node.args[1] if len(node.args) > 1 else None
            hidden = isinstance(named, ast.Constant) and _hidden(str(named.value))
            if hidden or text.split("(")[1].split(",")[0].split(".")[0].rstrip(")") in taken:
                found.append(text)
    return found


def test_nothing_reaches_into_flower() -> None:
    found = {_name(path): _reaches(path) for path in OUTSIDE}
    assert {name: reaches for name, reaches in found.items() if reaches} == {}


@pytest.mark.parametrize(
    "line",
    [
        "grid._runtime_client.PullObject(1)",
        "getattr(grid, '_runtime_client', None)",
        "message.metadata.__dict__['_message_id'] = 'x'",
        "Message.id = 1",
        "setattr(Message, 'id', 1)",
        "del Message.id",
        "from fedsafe.flower.internals import TaskIdentity",
        "vars(Message)",
    ],
)
def test_a_reach_would_be_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(f"from flwr.app import Message\n{line}\n")
    assert _reaches(tmp_path / "x.py")


def test_every_private_name_is_used() -> None:
    """A name that nobody needs any more is one fewer that a release can break."""
    asked = {name for path in FILES for module, name in _imports(path) if "internals" in module}
    sources = "".join(path.read_text() for path in HOME.glob("*.py") if path.stem != "internals")
    loaded = {
        name
        for name in HOMES
        if f'load("{name}")' in sources or f'HOMES["{name}"]' in sources or f'= "{name}"' in sources
    }
    assert set(HOMES) - asked - loaded == set()
