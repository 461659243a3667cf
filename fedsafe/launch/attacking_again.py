"""A second attack on the defended models of a finished run, with clients in this process."""

from collections.abc import Sequence
from shutil import rmtree

from clients.app import app
from fedsafe.experiment.attack import SecondAttack
from fedsafe.launch.grid import InlineGrid
from fedsafe.pipeline.run_state import Run
from fedsafe.pipeline.second_attack import attack_defended
from fedsafe.runs.records import Stage
from fedsafe.runs.store import CLIENTS
from server.experiment import GridClients


def attack_again(run: Run, rounds: int, defended: Sequence[Stage]) -> None:
    """Let the federation of a run go on from defended models, and evaluate what comes of each.

    What clients keep between rounds, such as Lisa's switch points, begins anew.

    Args:
        run: A finished run.
        rounds: Of each federation.
        defended: The models.
    """
    home = run.store.directory / CLIENTS
    clients = GridClients(InlineGrid(app, run.experiment.federation.clients, home), run)
    for stage in defended:
        attack_defended(run, clients, SecondAttack(rounds=rounds), stage)
    clients.end_rounds()
    clients.close()
    rmtree(home, ignore_errors=True)
