"""What FedSafe needs of flwr, name by name: a release that moves one fails the test of its name."""

import ast
import importlib
import inspect
import tomllib
from pathlib import Path
from typing import Any

import pytest

import fedsafe
from fedsafe.errors import LaunchError
from fedsafe.flower import compatibility, internals
from fedsafe.flower.compatibility import check, missing_fields, missing_of
from fedsafe.flower.internals import HOMES, SUPPORTED
from fedsafe.flower.requirements import ASSIGNED, ATTRIBUTES, CALLS, FIELDS, GUARDED, PARTS

ROOT = Path(fedsafe.__file__).parents[1]
NEEDED = [(part, name) for part, names in PARTS.items() for name in names.split()]
MESSAGES = [(part, message) for part, fields in FIELDS.items() for message in fields]
TYPES_ONLY = {"Run"}


@pytest.mark.parametrize("name", sorted(HOMES))
def test_installed_flower_has(name: str) -> None:
    assert list(missing_of(name)) == []


@pytest.mark.parametrize(("part", "message"), MESSAGES)
def test_installed_flower_has_the_fields_of(part: str, message: str) -> None:
    assert list(missing_fields(message, FIELDS[part][message])) == []


@pytest.mark.parametrize("part", PARTS)
def test_check_passes(part: str) -> None:
    check(part)


def test_every_name_is_checked_by_a_program_that_uses_it() -> None:
    assert {name for _, name in NEEDED} | TYPES_ONLY == set(HOMES)


def test_every_table_speaks_of_names_that_there_are() -> None:
    spoken = {*ATTRIBUTES, *ASSIGNED, *(call.partition(".")[0] for call in CALLS)}
    assert spoken <= set(HOMES)


def test_types_are_imported_from_where_the_names_are_loaded() -> None:
    tree = ast.parse(Path(internals.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == HOMES


def test_supported_releases_are_those_that_are_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"flwr{SUPPORTED}" in project["dependencies"]
    assert f"flwr[simulation]{SUPPORTED}" in project["optional-dependencies"]["simulation"]


# --- A release without one of them ----------------------------------------------------------


@pytest.mark.parametrize(("part", "name"), NEEDED)
def test_name_that_is_gone_is_named(part: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, there = HOMES[name]
    monkeypatch.delattr(importlib.import_module(module), there)
    monkeypatch.setattr(internals, "version", lambda _: "1.99.0")
    with pytest.raises(LaunchError) as caught:
        check(part)
    words = str(caught.value)
    assert f"{module}.{there}" in words
    assert "flwr 1.99.0" in words
    assert f"pip install 'flwr{SUPPORTED}'" in words


@pytest.mark.parametrize("name", sorted(HOMES))
def test_module_that_is_gone_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, there = HOMES[name]

    def moved(asked: str) -> Any:
        if asked == module:
            raise ModuleNotFoundError(f"No module named '{module}'")
        return importlib.import_module(asked)

    monkeypatch.setattr(compatibility, "import_module", moved)
    assert list(missing_of(name)) == [f"{module}.{there}"]


@pytest.mark.parametrize(
    ("name", "attribute"),
    [(name, one) for name, all_ in ATTRIBUTES.items() for one in all_.split()],
)
def test_attribute_that_is_gone_is_named(
    name: str, attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, there = HOMES[name]
    real = getattr(importlib.import_module(module), there)

    class Without:
        """The class without one attribute."""

    for one in dir(real):
        if one != attribute and not one.startswith("__"):
            setattr(Without, one, inspect.getattr_static(real, one))
    Without.__init__ = real.__init__  # type: ignore[method-assign]
    monkeypatch.setattr(importlib.import_module(module), there, Without)
    assert f"{module}.{there}.{attribute}" in list(missing_of(name))


@pytest.mark.parametrize(
    ("name", "attribute"), [(name, one) for name, all_ in ASSIGNED.items() for one in all_.split()]
)
def test_attribute_that_is_not_set_any_more_is_named(
    name: str, attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, there = HOMES[name]
    real = getattr(importlib.import_module(module), there)

    def bare(self: Any) -> None:
        self.other = 1

    monkeypatch.setattr(real, "__init__", bare)
    assert f"{module}.{there}.{attribute}" in list(missing_of(name))


@pytest.mark.parametrize("called", sorted(CALLS))
def test_signature_that_changed_is_named(called: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, method = called.partition(".")
    module, there = HOMES[name]
    home = importlib.import_module(module)

    def other(*, something_new: int) -> int:
        return something_new

    if method:
        monkeypatch.setattr(getattr(home, there), method, other)
    else:
        monkeypatch.setattr(home, there, other)
    full = f"{module}.{there}" + (f".{method}" if method else "")
    assert any(one.startswith(f"{full}(") for one in missing_of(name))


def test_field_that_is_gone_is_named() -> None:
    found = list(missing_fields("message_pb2.ObjectTree", "object_id leaves"))
    assert found == ["flwr.proto.message_pb2.ObjectTree.leaves"]


def test_protobuf_message_that_is_gone_is_named() -> None:
    assert list(missing_fields("node_pb2.Gone", "a")) == ["flwr.proto.node_pb2.Gone"]
    assert list(missing_fields("gone_pb2.Node", "a")) == ["flwr.proto.gone_pb2.Node"]


@pytest.mark.parametrize("path", sorted(GUARDED))
def test_request_that_is_parsed_elsewhere_is_named(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(internals.PROTOBUF_REQUEST_TYPES, ("POST", path))
    with pytest.raises(LaunchError, match=path):
        check("superlink")


def test_one_sentence_names_all_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TaskIdentity", "ErrorCode"):
        module, there = HOMES[name]
        monkeypatch.delattr(importlib.import_module(module), there)
    with pytest.raises(LaunchError, match=r"ErrorCode, .*TaskIdentity\. Found flwr \d"):
        check("launch")


def test_many_are_counted() -> None:
    words = str(internals.unsupported([f"flwr.x{n}" for n in range(9)]))
    assert "flwr.x4 and 4 more" in words


def test_no_flower_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(_: str) -> str:
        raise internals.PackageNotFoundError

    monkeypatch.setattr(internals, "version", version)
    assert "Found no flwr;" in str(internals.unsupported(["flwr.app"]))


def test_import_of_a_name_that_is_gone_is_our_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import flwr.supercore.run

    monkeypatch.delattr(flwr.supercore.run, "Run")
    monkeypatch.delitem(vars(internals), "Run", raising=False)
    with pytest.raises(LaunchError, match=r"flwr\.supercore\.run\.Run"):
        exec("from fedsafe.flower.internals import Run", {})


def test_name_that_nobody_listed_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Other'"):
        getattr(internals, "Other")  # noqa: B009 - as an import does
