"""The launcher of the ServerApp: its token is on no command line, and arrives all the same."""

import os
import sys
import time
from pathlib import Path

import pytest
from flwr.common.args import try_obtain_flwr_app_token
from flwr.supercore.constant import TASK_TYPE_TO_COMMAND, TaskType
from flwr.supercore.superexec.executor import ExecutionSpec, SubprocessExecutor, get_executor

from fedsafe.flower import launcher

TOKEN = "5ec3e7" * 10
PROGRAM = f"""#!{sys.executable}
import argparse, os, pathlib, sys
from flwr.common.args import add_args_flwr_app_common, try_obtain_flwr_app_token
parser = argparse.ArgumentParser()
parser.add_argument("--runtime-api-address")
add_args_flwr_app_common(parser)
token = try_obtain_flwr_app_token(parser.parse_args())
line = pathlib.Path("/proc/self/cmdline").read_text()
out = pathlib.Path(os.environ["OUT"])
out.with_suffix(".new").write_text(token + "\\n" + line)
out.with_suffix(".new").rename(out)
"""


def spec(token: str = TOKEN) -> ExecutionSpec:
    return ExecutionSpec(
        task_type=TaskType.SERVER_APP, runtime_api_address="127.0.0.1:1", token=token,
        insecure=True, root_certificates_path=None, runtime_dependency_install=False,
        parent_pid=os.getpid(), suppress_output=False, task_id=1, fab_hash=None,
    )  # fmt: skip


def test_the_token_reaches_the_process_and_is_not_on_its_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / TASK_TYPE_TO_COMMAND[TaskType.SERVER_APP]
    program.write_text(PROGRAM)
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    executor = launcher.Executor()
    executor.launch(spec())
    deadline = time.monotonic() + 60
    while executor._running and time.monotonic() < deadline:
        executor.reconcile()
        time.sleep(0.05)
    token, line = (tmp_path / "out").read_text().split("\n", 1)
    assert (token, TOKEN in line) == (TOKEN, False)


def test_the_launcher_takes_the_place_of_flowers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from flwr.supercore.superexec.executor import factory

    monkeypatch.setattr(factory, "SubprocessExecutor", SubprocessExecutor)
    monkeypatch.setattr(launcher, "flower_superexec", lambda: None)
    launcher.main()
    from flwr.supercore.constant import ExecutorType

    assert isinstance(get_executor(ExecutorType.SUBPROCESS), launcher.Executor)


def test_nothing_but_the_way_of_the_token_differs_from_flowers_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flwr.supercore.superexec.executor import subprocess_executor

    lines: list[list[str]] = []
    monkeypatch.setattr(
        subprocess_executor.subprocess, "Popen", lambda line, **_: lines.append(line)
    )
    SubprocessExecutor().launch(spec())
    (theirs,) = lines
    theirs[theirs.index("--token") : theirs.index(TOKEN) + 1] = ["--token-file", "/proc/self/fd/9"]
    assert launcher.command(spec(), 9) == theirs


def test_the_token_of_a_file_is_what_was_put_in_it() -> None:
    descriptor = launcher.token_file(TOKEN)
    try:
        import argparse

        given = argparse.Namespace(token_file=f"/proc/self/fd/{descriptor}")
        assert try_obtain_flwr_app_token(given) == TOKEN
    finally:
        os.close(descriptor)
