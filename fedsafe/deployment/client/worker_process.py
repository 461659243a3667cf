"""Entry point of the resident worker process; its argument is the socket's path.

`fedsafe client` starts it, and it never outlives what started it.
"""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from fedsafe.app import activate
from fedsafe.errors import FedSafeError

GRACE = 5.0
"""Seconds to end in good order after the process that started this one died."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a worker on a Unix socket until SIGTERM or SIGINT; return the exit code.

    0: told to end (SIGTERM, SIGINT, death of the parent); 1: the device failed, start
    anew; 2: it could not start, and a sentence on stderr says why.
    """
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to listen on.")
    path = parser.parse_args(argv).socket
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("clients").setLevel(logging.INFO)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # warns of kernels nobody asked for
    try:
        activate()
        from clients.worker.worker import serve

        return serve(path)
    except FedSafeError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _follow(parent: int) -> None:
    """End this process when its parent ends."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    os._exit(code)  # to take torch apart in good order takes seconds, and serves nobody
