"""Tasks are done once, each behind those that it needs, whatever order they end in."""

from hypothesis import given
from hypothesis import strategies as st

from fedsafe.matrix.pools import Ended
from fedsafe.matrix.schedule import Node, work_off
from fedsafe.matrix.work import Result, Task


class Shuffled:
    """A pool of some size that ends its tasks in an order of its own; some fail."""

    def __init__(self, size: int, failing: set[str], draw: st.DataObject) -> None:
        self._size, self._failing, self._draw = size, failing, draw
        self.running: list[str] = []
        self.begun: list[str] = []

    @property
    def room(self) -> int:
        return self._size - len(self.running)

    def submit(self, task: Task) -> None:
        self.running.append(task.id)
        self.begun.append(task.id)

    def wait(self) -> Ended:
        name = self._draw.draw(st.sampled_from(self.running))
        self.running.remove(name)
        return [(name, Result(name not in self._failing, "said why"))]

    def close(self) -> None:
        self.running.clear()


def nodes(graph: list[list[int]], soft: set[int]) -> dict[str, Node]:
    made = {}
    for number, below in enumerate(graph):
        names = [str(one) for one in below if one < number]
        task = Task(str(number), "", "", {})
        made[str(number)] = Node(task, (), names) if number in soft else Node(task, names)
    return made


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=10),
    st.sets(st.integers(0, 9)),
    st.sets(st.integers(0, 9).map(str)),
    st.sets(st.integers(0, 9).map(str)),
    st.integers(1, 4),
    st.data(),
)
def test_order_of_the_graph_is_kept(
    graph: list[list[int]],
    soft: set[int],
    failing: set[str],
    before: set[str],
    size: int,
    data: st.DataObject,
) -> None:
    made = nodes(graph, soft)
    done = {name: True for name in made if name in before}
    pool = Shuffled(size, failing, data)
    ended: dict[str, bool] = dict(done)

    def tell(name: str, result: Result) -> None:
        assert name not in ended
        if name in pool.begun:
            assert all(ended[one] for one in made[name].after)
            assert all(one in ended for one in made[name].ended)
        else:  # it could not be begun: the reason is one that it needs
            assert result.reason in made[name].after
            assert not ended[result.reason]
        ended[name] = result.done

    work_off(made, done, pool, tell)
    assert ended.keys() == made.keys()
    assert len(set(pool.begun)) == len(pool.begun)
