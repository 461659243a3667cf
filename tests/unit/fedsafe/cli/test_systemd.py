"""The systemd unit of a command: systemd takes it, and it starts the same command anywhere."""

import shutil
import subprocess
from pathlib import Path

import pytest

from fedsafe.cli.entry import main
from fedsafe.cli.systemd import _quoted

SERVER = ["server", "--experiment", "my.yaml", "--listen", "0.0.0.0:8443", "--tls", "certs",
          "--set", "name=a b%c$d", "-o", "runs/my"]  # fmt: skip
CLIENT = ["client", "--server", "fl.example.org:8443", "--tls", "ca.crt", "--key", "node0",
          "--data", "private.jsonl", "--once"]  # fmt: skip


@pytest.mark.parametrize("command", [SERVER, CLIENT], ids=["server", "client"])
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit(
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--systemd"]) == 0
    unit = tmp_path / f"fedsafe-{command[0]}.service"
    unit.write_text(capsys.readouterr().out)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", [SERVER, CLIENT], ids=["server", "client"])
def test_every_option_that_was_given_is_in_it(
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").touch()
    main([*command, "--systemd"])
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("ExecStart=")]
    options = {word.removesuffix("=") for word in command if word.startswith("--")}
    assert options <= set(line.split())
    assert "--systemd" not in line
    if command is SERVER:
        assert f"--experiment {tmp_path}/my.yaml" in line
        assert '--set "name=a b%%c$$d"' in line


@pytest.mark.parametrize(
    ("word", "written"),
    [("plain", "plain"), ("a b", '"a b"'), ("50%", '"50%%"'), ("$x", '"$$x"'), ('"', '"\\""'),
     ("", '""'), ("a\\b", '"a\\\\b"'), ("--k=v", "--k=v")],
)  # fmt: skip
def test_words_are_quoted_as_systemd_reads_them(word: str, written: str) -> None:
    assert _quoted(word) == written
