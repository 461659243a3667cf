"""A SuperLink in this process, behind its real gate and guard, spoken to without a network.

Flower's own app, clients and grid; only the sockets are left out.
"""

import asyncio
import threading
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.supercore.interceptors.http.superexec_auth import SuperExecAuthHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.superlink import extensions

from fedsafe.deployment.server import superlink
from fedsafe.deployment.server.control import Control
from fedsafe.deployment.server.superlink import Settings
from fedsafe.flower.internals import (
    FleetHttpClient,
    HttpGrid,
    NodeAuthHttpInterceptor,
    TaskIdentity,
    create_app,
    public_key_to_bytes,
)
from tests.doubles.deployment import ACQUIRE, Client, begin, take_task

TOKEN, SECRET, NOWHERE = "token", b"launcher's secret", "127.0.0.1:1"


class Transport(httpx.BaseTransport):
    """Hands requests to an ASGI app whose event loop is a thread's."""

    def __init__(self, app: Any) -> None:
        self._inner = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, call: Awaitable[Any], seconds: float = 20.0) -> Any:
        """Return what a coroutine returns that runs beside the app."""

        async def waited() -> Any:
            return await call

        return asyncio.run_coroutine_threadsafe(waited(), self.loop).result(seconds)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request, wholly."""

        async def answer() -> httpx.Response:
            response = await self._inner.handle_async_request(request)
            content = await response.aread()
            return httpx.Response(response.status_code, headers=response.headers, content=content)

        return self.run(answer())  # type: ignore[no-any-return]

    def end(self) -> None:
        """Stop the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Site:
    """One SuperLink's app, and those who speak to it."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.transport = Transport(app)
        self.state = app.state.linkstate_factory.state()
        self.control = Control(NOWHERE, TOKEN, None)
        self._connect(self.control._client)
        self._connect(self.control._stranger)

    def _connect(self, client: Any) -> None:
        client._client.close()
        client._client = httpx.Client(transport=self.transport)

    def http(self) -> httpx.Client:
        """A client that speaks no Flower."""
        return httpx.Client(transport=self.transport, base_url=f"http://{NOWHERE}")

    def client(self) -> Client:
        """A client whose key is registered, and that is not online yet."""
        key = ec.generate_private_key(ec.SECP384R1())
        fleet = FleetHttpClient.from_server_address(
            NOWHERE, True, None, [NodeAuthHttpInterceptor(key, key.public_key())]
        )
        self._connect(fleet)
        public = public_key_to_bytes(key.public_key())
        self.control.register([("node", public)])
        return Client(fleet, public)

    def member(self) -> Client:
        """A client that is online."""
        client = self.client()
        client.activate()
        return client

    def grid(self) -> HttpGrid:
        """The grid of a run that has just begun."""
        self.control.submit({"experiment": "micro", "output": "", "allow": ""})
        auth = SuperExecAuthHttpInterceptor(master_secret=SECRET, protected_methods=[ACQUIRE])
        launcher = RuntimeHttpClient.from_server_address(NOWHERE, True, None, [auth])
        self._connect(launcher)
        grid = HttpGrid(NOWHERE, True, token=take_task(launcher))
        self._connect(grid._runtime_client)
        return begin(grid)


@contextmanager
def site(hold: float = 0.2, keys: frozenset[bytes] | None = None) -> Iterator[Site]:
    """Make a SuperLink's app with gate and guard in it.

    Args:
        hold: How long a client that asks for work may wait, seconds.
        keys: Those that have to be registered before clients are let in; None: no allow list.
    """
    before = extensions.configure_app
    listed = None if keys is None else (lambda: keys)
    superlink._install(Settings("127.0.0.1", 1, TOKEN, "", hold=hold), listed)
    try:
        app = create_app()
    finally:
        extensions.configure_app = before
    app.state.superexec_auth_secret = SECRET
    made = Site(app)
    task = TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id
    try:
        yield made
    finally:
        TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id = task
        made.transport.end()
