"""Client of the SuperLink's Control API: register keys, submit runs, query status.

Flower's own client and messages.
"""

import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from fedsafe.deployment.server.bundle import files
from fedsafe.deployment.server.limits_middleware import TOKEN
from fedsafe.errors import LaunchError
from fedsafe.flower.internals import (
    ControlHttpClient,
    Fab,
    FlowerError,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    StreamLogsRequest,
    build_fab_from_files,
    fab_to_proto,
    user_config_to_proto,
)
from fedsafe.runs.files import private


class _Token:
    """HTTP interceptor that adds the SuperLink's access token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def intercept(self, context: Any, call_next: Any) -> Any:
        """Add the token to a request."""
        context.request.headers[TOKEN] = self._token
        return call_next(context)


@dataclass(frozen=True)
class Status:
    """Status of a run, as in Flower's RunStatus."""

    state: str
    """pending, starting, running or finished."""
    outcome: str = ""
    """completed, failed or stopped, once it is finished."""
    details: str = ""


class Control:
    """Control API client of one SuperLink."""

    def __init__(self, address: str, token: str, root: Path | None) -> None:
        certificates = None if root is None else root.read_bytes()
        plain = certificates is None
        self._client, self._stranger = (
            ControlHttpClient.from_server_address(address, plain, certificates, shown)
            for shown in ([_Token(token)], [])
        )

    def ready(self) -> bool:
        """Return whether it answers."""
        try:
            self._client.ListRuns(ListRunsRequest(limit=1))
        except httpx.HTTPError:
            return False
        return True

    def guarded(self) -> bool:
        """Return whether requests without the token are refused, as the limits middleware does."""
        try:
            self._stranger.ListRuns(ListRunsRequest(limit=1))
        except httpx.HTTPStatusError as error:
            return error.response.status_code == httpx.codes.FORBIDDEN
        return False

    def register(self, keys: Iterable[tuple[str, bytes]]) -> None:
        """Let nodes with these (name, public key) join.

        Raises:
            LaunchError: It does not take one.
        """
        for name, key in keys:
            self._call(
                f"The key '{name}' was not registered",
                self._client.RegisterNode,
                RegisterNodeRequest(public_key=key, name=name),
            )

    def submit(self, config: dict[str, Any]) -> int:
        """Start a run of the installed app, and return its id.

        Raises:
            LaunchError: It does not take it.
        """
        content, _ = build_fab_from_files(files())
        request = StartRunRequest(
            fab=fab_to_proto(Fab(hashlib.sha256(content).hexdigest(), content, {})),
            override_config=user_config_to_proto(config),
        )
        answer = self._call("The run was not taken", self._client.StartRun, request)
        if not answer.HasField("run_id"):
            raise LaunchError("The run was not taken: the SuperLink gave it no number.")
        return int(answer.run_id)

    def status(self, run: int) -> Status | None:
        """Return a run's status; None when the SuperLink does not answer."""
        try:
            status = self._client.ListRuns(ListRunsRequest(run_id=run)).run_dict[run].status
        except httpx.HTTPError:
            return None
        return Status(status.status, status.sub_status, status.details)

    def stop(self, run: int) -> None:
        """Stop a run and free what it holds, as far as the SuperLink still can."""
        try:
            self._client.StopRun(StopRunRequest(run_id=run))
        except httpx.HTTPError:
            return

    def copy_log(self, run: int, path: Path) -> None:
        """Keep a run's log in a file, as it grows, in the background."""
        threading.Thread(target=self._copy, args=(run, path), daemon=True).start()

    def _copy(self, run: int, path: Path) -> None:
        try:
            with open(path, "a", encoding="utf-8", opener=private) as file:
                for part in self._client.StreamLogs(StreamLogsRequest(run_id=run)):
                    file.write(part.log_output)
                    file.flush()
        except (httpx.HTTPError, OSError, ValueError, RuntimeError):
            return  # the SuperLink went, or the disk is full: the run is watched elsewhere

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()
        self._stranger.close()

    @staticmethod
    def _call(what: str, method: Any, request: Any) -> Any:
        try:
            return method(request)
        except httpx.HTTPStatusError as error:
            said = FlowerError.from_json(error.response.text)
            why = said.message if said else f"HTTP {error.response.status_code}"
            raise LaunchError(f"{what}: {why}") from None
        except httpx.HTTPError as error:
            raise LaunchError(f"{what}: the SuperLink does not answer ({error}).") from None
