"""Flower's own simulation engine runs the same app, to the same bits."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.conftest import BY_PATH, INT8, ROOT, TINY, beside

pytestmark = pytest.mark.slow


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def flower(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment in which `flwr run` starts a SuperLink of its own, ended afterwards."""
    binaries = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "FLWR_HOME": str(tmp_path / "flower"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(free_port()),
        "FLWR_LOCAL_CONTROL_API_PORT": str(free_port()),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    environment.pop("PYTHONPATH", None)
    yield environment
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get("FLWR_HOME") == environment["FLWR_HOME"]:
            process.send_signal(signal.SIGKILL)


def test_simulation_equals_inline_bit_for_bit(
    int8_run: Path, tmp_path: Path, flower: dict[str, str]
) -> None:
    app = tmp_path / "app"
    names = ("pyproject.toml", "fedsafe", "clients", "server", "strategies", "LICENSE")
    for name in names:
        source, target = ROOT / name, app / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
    output = tmp_path / "out"
    experiment = beside(tmp_path / "mine")  # clients are in other processes, and run its code
    settings = "; ".join((*TINY, INT8, *BY_PATH))  # with state that clients keep between rounds
    done = subprocess.run(
        ["flwr", "run", str(app), "--stream", "--run-config",
         f'experiment="{experiment}" output="{output}" settings="{settings}"'],
        cwd=tmp_path, env=flower, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert (output / "summary.json").is_file(), done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads((output / "summary.json").read_text())["status"] == "completed"
    for name in ("adapter", "control/adapter"):
        file = f"{name}/adapter_model.safetensors"
        assert (output / file).read_bytes() == (int8_run / file).read_bytes()
