"""docker-compose.yml and its images: closed, right by the specification, true to the commands."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from fedsafe.cli.entry import app
from fedsafe.experiment import load
from tests.architecture import compose

BIN = Path(sys.executable).parent
DOCKERFILE = compose.ROOT / "Dockerfile"
IMAGES = DOCKERFILE.read_text(encoding="utf-8")
SERVICES = compose.services()
CLIENTS = compose.clients()
COMMANDS = compose.fedsafe_commands()


def _check(*command: str | Path) -> None:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["docker-compose.yml", ".docker/cuda.yml", ".docker/honest.yml"])
def test_file_follows_the_compose_specification(name: str) -> None:
    program = BIN / "check-jsonschema"
    _check(program, "--builtin-schema", "vendor.compose-spec", compose.ROOT / name)


def test_dockerfile_has_no_lint() -> None:
    _check(BIN / "hadolint", "--no-color", DOCKERFILE)


# Rights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_service_has_no_rights(name: str) -> None:
    service = SERVICES[name]
    held = {key: service.get(key) for key in ("read_only", "cap_drop", "security_opt")}
    assert held == {
        "read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]
    }  # fmt: skip
    assert not {"privileged", "cap_add", "devices", "pid", "ipc"} & set(service)


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_the_user_that_the_images_make(name: str) -> None:
    (user,) = set(re.findall(r"^USER (?!0$)(\S+)$", IMAGES, re.MULTILINE))
    assert SERVICES[name]["user"] == user


def test_only_the_server_listens_and_only_to_this_machine() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"server": ["127.0.0.1:8443:8443"]}


@pytest.mark.parametrize("name", CLIENTS)
def test_client_reaches_the_server_and_nothing_else(name: str) -> None:
    assert CLIENTS[name]["networks"] == ["fleet"]
    assert compose.read()["networks"]["fleet"] == {"internal": True}


# Secrets --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run the script of `certs`; return what lies in each volume."""
    root = tmp_path_factory.mktemp("volumes")
    for _ in range(2):  # `up` runs it each time
        volumes = _run_certs(root)
    return volumes


def _run_certs(root: Path, **environment: str) -> dict[str, Path]:
    """Run the script of `certs` with its volumes below a directory; return where each lies."""
    mounts = compose.mounts(SERVICES["certs"])
    volumes = {mount.volume: root / mount.target.lstrip("/") for mount in mounts}
    for volume in volumes.values():
        volume.mkdir(mode=0o700, parents=True, exist_ok=True)
    places = {key: f"{root}{path}" for key, path in SERVICES["certs"]["environment"].items()}
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        [*SERVICES["certs"]["entrypoint"], *SERVICES["certs"]["command"]],
        env={**os.environ, **places, "PATH": path, **environment},
        check=True,
        timeout=60,
        stdout=subprocess.DEVNULL,
    )
    return volumes


def _secrets(service: dict[str, Any]) -> compose.Mount:
    (found,) = (one for one in compose.mounts(service) if one.target == "/etc/fedsafe")
    return found


def _files(directory: Path) -> set[str]:
    return {
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("name", CLIENTS)
def test_client_is_handed_its_own_key_and_no_other_secret(
    name: str, handed: dict[str, Path]
) -> None:
    (key,) = (a.removeprefix("--key=/etc/fedsafe/") for a in COMMANDS[name] if "--key=" in a)
    assert _files(handed[_secrets(CLIENTS[name]).volume]) == {"ca.crt", key}


def test_no_two_services_share_secrets() -> None:
    used = [_secrets(SERVICES[name]).volume for name in ("server", *CLIENTS)]
    assert len(set(used)) == len(used)


def test_server_is_handed_what_it_needs_and_not_the_authority(handed: dict[str, Path]) -> None:
    allowed = {f"allow/node{number}.pub" for number in range(len(CLIENTS))}
    there = _files(handed[_secrets(SERVICES["server"]).volume])
    assert there == {"ca.crt", "server.crt", "server.key"} | allowed


def test_certificate_that_is_handed_out_is_whole(handed: dict[str, Path]) -> None:
    _check(BIN / "fedsafe", "certs", "check", handed[_secrets(SERVICES["server"]).volume])


def test_secrets_are_for_their_owner_alone(handed: dict[str, Path]) -> None:
    files = [path for one in handed.values() for path in one.rglob("*") if path.is_file()]
    open_ones = [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert not [path for path in open_ones if path.suffix not in {".crt", ".pub"}]


@pytest.mark.parametrize("name", ["server", *CLIENTS])
def test_secrets_cannot_be_changed(name: str) -> None:
    assert _secrets(SERVICES[name]).read_only


def test_authority_stays_where_it_is_made() -> None:
    users = {
        name for name, service in SERVICES.items()
        if "authority" in {mount.volume for mount in compose.mounts(service)}
    }  # fmt: skip
    assert users == {"certs"}


@pytest.mark.parametrize("how", ["revoked", "removed"])
def test_a_key_that_was_shut_out_does_not_come_back(how: str, tmp_path: Path) -> None:
    _run_certs(tmp_path, **({"REVOKE": "node1"} if how == "revoked" else {}))
    if how == "removed":
        (tmp_path / "authority/allow/node1.pub").unlink()
    _run_certs(tmp_path)
    found = tmp_path / "handout/server/allow/node1.pub"
    if how == "revoked":
        assert found.read_text().startswith("@revoked ")
        _run_certs(tmp_path, RESTORE="node1")
        assert found.read_text().startswith("ecdsa-")
    else:
        assert not found.exists()


# Commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_one_that_fedsafe_takes(name: str) -> None:
    command: Any = typer.main.get_command(app)
    arguments = COMMANDS[name]
    while True:
        context = command.make_context(None, list(arguments))
        if not hasattr(command, "resolve_command"):
            return
        _, command, arguments = command.resolve_command(context, arguments)


def test_experiment_is_a_declared_red_team_of_so_many_clients() -> None:
    given = dict(text.removeprefix("--").split("=", 1) for text in COMMANDS["server"][1:])
    changes = [text.removeprefix("--set=") for text in COMMANDS["server"] if "--set=" in text]
    experiment = load(given["experiment"], changes)
    assert (experiment.red_team, experiment.federation.clients) == (True, len(CLIENTS))


def test_there_are_three_honest_clients_and_one_attacker() -> None:
    attackers = {name for name in CLIENTS if "--red-team" in COMMANDS[name]}
    assert (attackers, len(CLIENTS)) == ({"attacker"}, 4)


# Images ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_volumes_are_mounted_where_the_image_has_a_directory_of_the_user(name: str) -> None:
    (made,) = re.findall(r"install --directory.*?\n((?:.*\\\n)*.*)\n", IMAGES)
    targets = {mount.target for mount in compose.mounts(SERVICES[name])}
    assert targets <= set(made.replace("\\", "").split())


@pytest.mark.parametrize("name", SERVICES)
def test_image_is_one_that_is_built_here(name: str) -> None:
    image = SERVICES[name]["image"]
    (target,) = [
        one["build"]["target"]
        for one in SERVICES.values()
        if one["image"] == image and "build" in one
    ]  # one service builds it: two at a time would write one tag
    assert image.startswith(f"fedsafe-{target}:")
    assert re.search(rf"^FROM \S+ AS {target}$", IMAGES, re.MULTILINE)


@pytest.mark.parametrize("name", [name for name in SERVICES if "build" not in SERVICES[name]])
def test_image_that_another_service_builds_is_not_looked_for_elsewhere(name: str) -> None:
    assert SERVICES[name]["pull_policy"] == "never"
    assert "certs" in SERVICES[name]["depends_on"]


def test_gpus_change_no_build_that_there_is_not() -> None:
    cuda = compose.read(compose.ROOT / ".docker/cuda.yml")["services"]
    built = {name for name in cuda if "build" in cuda[name]}
    assert built == {name for name in SERVICES if "build" in SERVICES[name]}


def test_versions_are_the_dockerfiles_own() -> None:
    defaults = dict(re.findall(r"^ARG (\w+)=(\S+)$", IMAGES, re.MULTILINE))
    assert SERVICES["certs"]["build"]["args"] == defaults


def test_base_image_is_pinned() -> None:
    pinned = r"^ARG PYTHON=3\.\d+\.\d+-[\w.-]+@sha256:[0-9a-f]{64}$"
    assert re.search(pinned, IMAGES, re.MULTILINE)
    assert set(re.findall(r"^FROM (?!environment|runtime)(\S+)", IMAGES, re.MULTILINE)) == {
        "python:${PYTHON}"
    }


@pytest.mark.parametrize("name", SERVICES)
def test_memory_is_bounded(name: str) -> None:
    assert re.fullmatch(r"\d+[mg]", SERVICES[name]["mem_limit"])


@pytest.mark.parametrize("name", CLIENTS)
def test_client_waits_for_no_server_that_may_have_ended(name: str) -> None:
    assert CLIENTS[name]["depends_on"]["server"] == {"condition": "service_started"}


@pytest.mark.parametrize("name", CLIENTS)
def test_client_has_a_place_for_data_of_its_own_and_for_a_model(name: str) -> None:
    places = {mount.target: mount for mount in compose.mounts(CLIENTS[name])}
    assert (places["/data"].read_only, places["/models"].read_only) == (True, True)
    others = {
        m.volume for other in CLIENTS if other != name for m in compose.mounts(CLIENTS[other])
    }
    assert places["/data"].volume not in others


def test_every_named_volume_is_declared() -> None:
    used = {mount.volume for service in SERVICES.values() for mount in compose.mounts(service)}
    assert used == set(compose.read()["volumes"])


def test_honest_federation_has_no_attack_and_no_attacker() -> None:
    honest = compose.read(compose.ROOT / ".docker/honest.yml")["services"]
    given = honest["server"]["command"]
    changes = [text.removeprefix("--set=") for text in given if text.startswith("--set=")]
    experiment = load("micro", changes)
    assert (experiment.attack, experiment.red_team) == (None, False)
    assert experiment.federation.clients == len(CLIENTS)
    assert "--red-team" not in honest["attacker"]["command"]


def test_everything_that_is_copied_reaches_the_builder() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", IMAGES, re.MULTILINE)
    kept = (compose.ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{name}" for line in copied for name in line.split()} <= set(kept)
