"""Judge `endpoint` against `transformers serve` on the embedded model; run by hand, takes a minute.

Needs the packages of `pip install 'transformers[serving]' 'fedsafe[judges]'`.
"""

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from fedsafe.app import activate
from fedsafe.contracts import Exchange, Prompt, judges
from fedsafe.micro.base import model_directory


def main() -> None:
    activate()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, program = f"http://127.0.0.1:{port}/v1", Path(sys.executable).with_name("transformers")
    server = subprocess.Popen([program, "serve", "--port", str(port)])
    try:
        for _ in range(120):
            try:
                httpx.get(f"{url}/models", timeout=2)
                break
            except httpx.HTTPError:
                time.sleep(1)
        with tempfile.TemporaryDirectory() as folder:
            found = {"url": url, "model": str(model_directory("micro")), "timeout": 300}
            found |= {"cache": f"{folder}/replies", "max_new_tokens": 8, "concurrency": 1}
            asked = [
                Exchange(Prompt(f"p{i}", f"sum of {i} and two", "harmful"), "3") for i in range(2)
            ]
            judge = judges["endpoint"].configure({**found, "style": "harmbench"})
            begun = time.perf_counter()
            first, middle = judge(asked), time.perf_counter()
            assert judge(asked) == first
            again = time.perf_counter() - middle
        assert all(verdict.raw for verdict in first)
        print(f"{len(first)} verdicts {[v.outcome for v in first]}, raw {first[0].raw!r}")
        print(f"{middle - begun:.1f} s, and {again:.3f} s from the cache")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
