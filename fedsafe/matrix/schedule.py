"""Do the tasks of a matrix in the order of the graph, as many at once as there is room for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fedsafe.matrix.pools import Pool
from fedsafe.matrix.work import Result, Task


@dataclass(frozen=True)
class Node:
    """A task with the ids of those that must be done before it.

    Attributes:
        task: What is done.
        after: Must be done; if one failed, this has failed.
        ended: Must have ended, well or not.
    """

    task: Task
    after: Sequence[str] = ()
    ended: Sequence[str] = ()


def work_off(
    nodes: Mapping[str, Node],
    done: Mapping[str, bool],
    pool: Pool,
    tell: Callable[[str, Result], None],
    begin: Callable[[str], None] = lambda _: None,
) -> None:
    """Do every task that is not done, each after those that it needs.

    Args:
        nodes: By id, in the order of preference.
        done: Ids that ended before: whether well.
        pool: Where they run.
        tell: Called with each task that ends now, or cannot be begun.
        begin: Called with each task that is begun.
    """
    ended = dict(done)
    waiting = [name for name in nodes if name not in ended]
    running: set[str] = set()
    while waiting or running:
        for name, cause in _hopeless(waiting, nodes, ended):
            waiting.remove(name)
            ended[name] = False
            tell(name, Result(False, cause))
        for name in _ready(waiting, nodes, ended)[: pool.room]:
            waiting.remove(name)
            running.add(name)
            begin(name)
            pool.submit(nodes[name].task)
        for name, result in pool.wait() if running else ():
            running.remove(name)
            ended[name] = result.done
            tell(name, result)


def _ready(
    waiting: Sequence[str], nodes: Mapping[str, Node], ended: Mapping[str, bool]
) -> list[str]:
    return [
        name
        for name in waiting
        if all(ended.get(one) for one in nodes[name].after)
        and all(one in ended for one in nodes[name].ended)
    ]


def _hopeless(
    waiting: Sequence[str], nodes: Mapping[str, Node], ended: Mapping[str, bool]
) -> Iterator[tuple[str, str]]:
    """Yield the tasks that need one that failed, with that one's id."""
    for name in list(waiting):
        lost = next((one for one in nodes[name].after if ended.get(one) is False), None)
        if lost is not None:
            yield name, lost
