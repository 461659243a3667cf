"""Seconds a round on separate processes: the resident trainer beside Flower's own way.

``python -m tests.benchmarks.deployment [--clients 2] [--rounds 4]``

Both train the same adapter of the same nf4 base, a Llama of 164 million random weights,
which takes about 8 s to load on a CPU core. Flower loads it for every message, as a
ClientApp is a new process each time; FedSafe loads it once a client. The first round is
left out of the ratio: both load there.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

from fedsafe.deployment.child_processes import Child, tail, wait_until

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
WAIT = 900.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--layers", type=int, default=12)
    chosen = parser.parse_args()
    with TemporaryDirectory() as scratch:
        home = Path(scratch)
        experiment = write_experiment(home, chosen.layers, chosen.clients, chosen.rounds)
        stock = run_stock(home / "stock", experiment, chosen.clients, chosen.rounds)
        ours, loads = run_fedsafe(home / "fedsafe", experiment, chosen.clients)
    later = mean(stock[1:]), mean(ours[1:])
    print("seconds of each round, Flower ", " ".join(f"{s:6.1f}" for s in stock))
    print("seconds of each round, FedSafe", " ".join(f"{s:6.1f}" for s in ours))
    print("loading, FedSafe, by round    ", " ".join(f"{s:6.1f}" for s in loads))
    print(
        f"from round 2 on: {later[0]:.1f} s and {later[1]:.1f} s, ratio {later[0] / later[1]:.1f}"
    )


def write_experiment(home: Path, layers: int, clients: int, rounds: int) -> Path:
    """Save the base model and an experiment that trains on it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.doubles.models import make_tokenizer

    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=1024, intermediate_size=3072,
        num_hidden_layers=layers, num_attention_heads=8,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    model = home / "base"
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(model)
    tokenizer.save_pretrained(model)
    settings = {
        "name": "speed",
        "model": {"path": str(model), "quantization": "nf4"},
        "adapter": {"rank": 4, "alpha": 8, "targets": ["q_proj", "v_proj"]},
        "data": {"source": {"name": "micro", "count": 64}, "max_length": 64},
        "training": {"steps": 2, "batch_size": 1},
        "federation": {"clients": clients, "rounds": rounds},
        "evaluation": {
            "suites": {"name": "micro", "harmful": 1, "over_refusal": 1, "old_skills": 1,
                       "new_skill": 1},
            "judge": "keyword", "max_new_tokens": 1, "conditions": ["plain"], "probe_every": 0,
        },
    }  # fmt: skip
    path = home / "experiment.yaml"
    path.write_text(json.dumps(settings))
    return path


def run_stock(home: Path, experiment: Path, clients: int, rounds: int) -> list[float]:
    """Return the seconds of each round under Flower's own commands."""
    home.mkdir()
    port = free_port()
    (home / "flower").mkdir()
    (home / "flower" / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "127.0.0.1:{port}"\n'
        "insecure = true\n"
    )
    children = [
        Child("SuperLink", [str(BIN / "flower-superlink"), "--insecure", "--port", str(port),
                            "--disable-runtime-dependency-installation"],
              log=home / "superlink.log", env=environment(home / "flower")),
    ]  # fmt: skip
    children += [
        Child(f"node {n}", [str(BIN / "flower-supernode"), "--insecure", "--superlink",
                            f"127.0.0.1:{port}", "--port", str(free_port()),
                            "--node-config", f"partition-id={n} num-partitions={clients}"],
              log=home / f"node{n}.log", env=environment(home / f"flower{n}"))
        for n in range(clients)
    ]  # fmt: skip
    done = home / "rounds.json"
    with running(children):
        time.sleep(5)
        config = f'experiment="{experiment}" output="{home}" rounds={rounds} clients={clients}'
        subprocess.run(
            [str(BIN / "flwr"), "run", str(HERE / "stock"), "here", "--run-config", config],
            env=environment(home / "flower"), check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        if not wait_until(done.is_file, WAIT):
            raise SystemExit(f"Flower's run did not end: {tail(home / 'superlink.log')}")
    found: list[float] = json.loads(done.read_text())
    return found


def run_fedsafe(home: Path, experiment: Path, clients: int) -> tuple[list[float], list[float]]:
    """Return the seconds of each round, and the mean loading time in each."""
    home.mkdir()
    fedsafe = [sys.executable, "-m", "fedsafe"]
    subprocess.run(
        [*fedsafe, "certs", "init", "--host", "localhost", "--clients", str(clients),
         "-o", str(home / "certs")],
        env=environment(home), check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    port = free_port()
    certs, output = home / "certs", home / "run"
    children = [
        Child("server", [*fedsafe, "server", "--experiment", str(experiment), "--listen",
                         f"127.0.0.1:{port}", "--tls", str(certs), "--allow",
                         str(certs / "allow"), "-o", str(output)],
              log=home / "server.log", env=environment(home / "server")),
    ]  # fmt: skip
    children += [
        Child(f"client {n}", [*fedsafe, "client", "--server", f"localhost:{port}", "--tls",
                              str(certs / "ca.crt"), "--key", str(certs / "keys" / f"node{n}"),
                              "--state", str(home / f"client{n}")],
              log=home / f"client{n}.log", env=environment(home / f"home{n}"))
        for n in range(clients)
    ]  # fmt: skip
    with running(children):
        if not wait_until(lambda: children[0].code is not None, WAIT):
            raise SystemExit(f"FedSafe's run did not end: {tail(home / 'server.log')}")
    records = [json.loads(line) for line in (output / "rounds.jsonl").read_text().splitlines()]
    loads = [mean(client["load_seconds"] for client in r["clients"]) for r in records]
    return [record["seconds"] for record in records], loads


@contextmanager
def running(children: list[Child]) -> Iterator[None]:
    with ExitStack() as stack:
        for child in children:
            child.start()
            stack.callback(child.stop)
        yield


def environment(flower_home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(HERE.parents[1]),
        "OMP_NUM_THREADS": "1",
        "FLWR_HOME": str(flower_home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()
