import pytest
import torch

from strategies.kernels import blockwise, numba_sort
from strategies.kernels.blockwise import after_blocks
from strategies.kernels.sorting_networks import exchange, network


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_results_come_in_order_whoever_worked(cores, monkeypatch):
    monkeypatch.setattr(blockwise, "cores", lambda: cores)
    found = blockwise.sweep(torch.empty(2, 1003), 10, lambda: lambda part: (part.start, part.stop))
    assert found == [(start, min(start + 10, 1003)) for start in range(0, 1003, 10)]


def test_kernels_use_one_thread_and_then_as_many_as_before(monkeypatch):
    monkeypatch.setattr(blockwise, "cores", lambda: 2)
    before = torch.get_num_threads()
    threads = blockwise.sweep(torch.empty(1, 20), 5, lambda: lambda part: torch.get_num_threads())
    assert threads == [1] * 4
    assert torch.get_num_threads() == before


def test_error_of_a_block_reaches_the_caller(monkeypatch):
    monkeypatch.setattr(blockwise, "cores", lambda: 2)

    def visit(part):
        raise ValueError(f"block {part.start}")

    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="block"):
        blockwise.sweep(torch.empty(1, 20), 5, lambda: visit)
    assert torch.get_num_threads() == before


def test_reader_is_told_what_was_read():
    told = []
    with after_blocks(told.append):
        blockwise.sweep(torch.empty(3, 25), 10, lambda: lambda part: None)
    assert sorted(told) == [15, 30, 30]


def test_other_devices_take_wider_blocks():
    rows = torch.empty(3, 10**6, device="meta")
    assert blockwise.sweep(rows, 10, lambda: lambda part: part) == [slice(0, 10**6)]
    wires = [torch.empty(7, device="meta") for _ in range(5)]
    assert len(exchange(wires, network(4, 1, 2, ordered=False))) == 4


def test_cores_are_counted_where_affinity_is_unknown(monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity")
    assert blockwise.cores() >= 1


@pytest.mark.skipif(not numba_sort.available(), reason="numba is not installed")
def test_compiled_sorting_does_what_its_source_says():
    """The source, uncompiled, on one strip: coverage cannot look into compiled code."""
    import numpy as np

    rows = np.random.default_rng(0).normal(size=(11, 130)).astype(np.float32)
    merges = np.array([[0, 1]])
    for sort in (numba_sort.sorter(), numba_sort.sorter().py_func):
        found = np.empty((4, 130), np.float32)
        assert sort(rows, 0, 130, merges, 3, 4, found)
        assert np.array_equal(found, np.sort(rows, axis=0)[3:7])
        assert sort(rows, 0, 130, merges, 3, 4, found[:1])
        assert np.allclose(found[0], np.sort(rows, axis=0)[3:7].sum(axis=0), atol=1e-6)
    rows[5, 129] = np.inf
    assert not numba_sort.sorter()(rows, 0, 130, merges, 3, 4, found)


@pytest.mark.skipif(not numba_sort.available(), reason="numba is not installed")
def test_compiled_sorting_of_few_rows_does_what_its_source_says():
    import numpy as np

    rows = np.random.default_rng(0).normal(size=(11, 130)).astype(np.float32)
    compile_ = numba_sort.few_sorter(11, 3, 6)
    for sort in (compile_, compile_.py_func):
        found = np.empty(130, np.float32)
        assert sort(rows, 0, 130, found)
        assert np.allclose(found, np.sort(rows, axis=0)[3:7].sum(axis=0), atol=1e-6)
    rows[5, 129] = np.inf
    assert not compile_(rows, 0, 130, found)


def test_result_lies_where_the_matrix_does():
    assert blockwise.vector(torch.empty(3, 7)).shape == (7,)
    assert blockwise.vector(torch.empty(3, 7, device="meta")).device.type == "meta"
