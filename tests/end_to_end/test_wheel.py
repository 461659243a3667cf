"""The wheel, installed into an empty place, runs a federation from another directory."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.end_to_end.conftest import ROOT, RUN


def test_installed_wheel_runs_a_federation_from_elsewhere(tmp_path: Path, tiny_run: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "fedsafe", *RUN, "--json", "-o", "out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["status"] == "completed"
    file = "adapter/adapter_model.safetensors"
    assert (tmp_path / "out" / file).read_bytes() == (tiny_run / file).read_bytes()
