"""The same federation by FedSafe: in one process, or by server, clients and trainers.

``python -m tests.gpu.federated SETTING.json RESULT.json``
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.gpu.setting import Setting

WAIT = 3600.0


def experiment(setting: Setting, *, own_data: bool) -> dict[str, Any]:
    """Return the experiment; with ``own_data`` each client brings its examples."""
    shared = {"name": "jsonl", "path": str(setting.data())}
    return {
        "name": "qlora",
        "seed": setting.seed,
        "model": {
            "path": str(setting.model),
            "quantization": setting.quantization,
            "device": setting.device,
        },
        "adapter": {
            "rank": setting.rank,
            "alpha": setting.alpha,
            "dropout": setting.dropout,
            "targets": ["q_proj", "v_proj"],
        },
        "data": {
            "source": "client" if own_data else shared,
            "template": "alpaca",
            "partition": "iid",
            "max_length": setting.longest,
        },
        "training": {
            "steps": setting.steps,
            "batch_size": setting.batch_size,
            "learning_rate": 5e-5,
            "checkpointing": setting.checkpointing,
            "group_by_length": setting.group_by_length,
        },
        "federation": {
            "clients": setting.clients,
            "rounds": setting.rounds,
            "strategy": "mean",
            "deadline": WAIT,
        },
        "evaluation": {
            "suites": {"name": "micro", "harmful": 1, "over_refusal": 1, "old_skills": 1,
                       "new_skill": 1},
            "judge": "keyword", "max_new_tokens": 1, "conditions": ["plain"], "probe_every": 0,
        },
    }  # fmt: skip


def inline(setting: Setting, home: Path) -> dict[str, Any]:
    """Run server and clients in this process; return what was measured."""
    from fedsafe.app import activate
    from fedsafe.experiment.load import validate
    from fedsafe.launch import inline as runtime
    from fedsafe.training.session import resident

    activate()
    asked = validate(experiment(setting, own_data=False))
    _, seconds = resident(asked)
    marks = []
    runtime.run(asked, home / "run", lambda event: marks.append((event.kind, time.process_time())))
    found = measured(home / "run") | {"load_seconds": seconds}
    starts, ends = ([at for kind, at in marks if kind == f"round-{edge}"]
                    for edge in ("start", "end"))  # fmt: skip
    for record, start, end in zip(found["rounds"], starts, ends, strict=True):
        record["cpu_seconds"] = end - start
    return found


def deployment(setting: Setting, home: Path) -> dict[str, Any]:
    """Run a server and client processes over TLS on loopback; return what was measured."""
    from fedsafe.deployment.child_processes import Child, tail, wait_until
    from tests.benchmarks.deployment import environment, free_port, running

    file = home / "experiment.yaml"
    file.write_text(json.dumps(experiment(setting, own_data=True)))
    fedsafe = [sys.executable, "-m", "fedsafe"]
    certs, output, port = home / "certs", home / "run", free_port()
    subprocess.run(
        [*fedsafe, "certs", "init", "--host", "localhost", "--clients", str(setting.clients),
         "-o", str(certs)],
        env=environment(home), check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    children = [
        Child("server", [*fedsafe, "server", "--experiment", str(file), "--listen",
                         f"127.0.0.1:{port}", "--tls", str(certs), "--allow",
                         str(certs / "allow"), "-o", str(output)],
              log=home / "server.log", env=environment(home / "server")),
    ]  # fmt: skip
    together = setting.runtime == "shared"
    shares = [range(setting.clients)] if together else [[n] for n in range(setting.clients)]
    children += [
        Child(f"client {numbers[0]}", [*fedsafe, "client", "--server", f"localhost:{port}",
                                       "--tls", str(certs / "ca.crt"),
                                       *keys_and_data(setting, certs, numbers),
                                       "--state", str(home / f"client{numbers[0]}")],
              log=home / f"client{numbers[0]}.log", env=environment(home / f"home{numbers[0]}"))
        for numbers in shares
    ]  # fmt: skip
    with running(children):
        if not wait_until(lambda: children[0].code is not None, WAIT):
            raise SystemExit(f"FedSafe's run did not end: {tail(home / 'server.log')}")
    if not (output / "summary.json").is_file():
        raise SystemExit(f"FedSafe's run failed: {tail(home / 'server.log')}")
    return measured(output)


def keys_and_data(setting: Setting, certs: Path, numbers: Sequence[int]) -> list[str]:
    return [
        word
        for n in numbers
        for word in ("--key", str(certs / "keys" / f"node{n}"), "--data", str(setting.data(n)))
    ]


def measured(directory: Path) -> dict[str, Any]:
    """Return what the records of a run say."""
    summary = json.loads((directory / "summary.json").read_text())
    if summary["status"] != "completed":
        raise SystemExit(f"FedSafe's run {summary['status']}: {summary['reason']}")
    rounds, loads, peak, moved = [], [], 0.0, 0
    for line in (directory / "rounds.jsonl").read_text().splitlines():
        record = json.loads(line)
        clients = [one for one in record["clients"] if one["status"] == "accepted"]
        rounds.append({
            "seconds": record["seconds"],
            "tokens": sum(one["tokens"] for one in clients),
            "padded": sum(one["padded_tokens"] for one in clients),
            "loss": clients[-1]["loss"],
        })  # fmt: skip
        loads.append(max(one["load_seconds"] for one in clients))
        peak = max([peak, *(one["peak_bytes"] for one in clients)])
        moved = record["bytes_sent"] + record["bytes_received"]
    return {
        "load_seconds": loads[0],
        "later_load_seconds": max(loads[1:], default=0.0),
        "rounds": rounds,
        "peak_bytes": peak,
        "bytes_per_round": moved,
    }


def said(setting: Setting) -> int:
    """Return the bytes that FedSafe says one training process needs, before it loads."""
    from fedsafe.experiment.schema import Adapter, Model, Training
    from fedsafe.models.compute import compute_of, rough_parameters
    from fedsafe.models.memory import estimate, workload
    from fedsafe.models.model_size import read_config, shape_of
    from fedsafe.models.quantization import device_of

    asked = experiment(setting, own_data=False)
    model, adapter = Model.model_validate(asked["model"]), Adapter.model_validate(asked["adapter"])
    training = Training.model_validate(asked["training"])
    device = device_of(model)
    config = read_config(setting.model)
    dtype = compute_of(model, device, rough_parameters(config)).dtype
    work = workload(model, adapter, training, setting.longest, device, dtype)
    return estimate(shape_of(config, adapter, setting.model), work).total


def run(setting: Setting) -> dict[str, Any]:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as scratch:
        way = inline if setting.runtime == "inline" else deployment
        return way(setting, Path(scratch)) | {"said_bytes": said(setting)}


def main() -> None:
    Path(sys.argv[2]).write_text(json.dumps(run(Setting.read(sys.argv[1]))))


if __name__ == "__main__":
    main()
