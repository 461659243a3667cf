import numpy as np
import pytest

from strategies.vectorize import Layout


@pytest.fixture
def sent():
    return {
        "half": np.array([[1.0, 2.0], [3.0, 4.0]], np.float16),
        "count": np.array([7], np.int64),
        "double": np.array([0.5, 0.25, 0.125]),
        "scalar": np.array(2.0, np.float32),
    }


def changed(arrays, by):
    floats = {n: (a + by).astype(a.dtype) for n, a in arrays.items() if a.dtype.kind == "f"}
    return {**arrays, **floats}


def test_floating_point_arrays_lie_one_after_the_other(sent):
    layout = Layout.of(sent)
    assert layout.blocks == {"half": slice(0, 4), "double": slice(4, 7), "scalar": slice(7, 8)}
    assert layout.flat.tolist() == [1, 2, 3, 4, 0.5, 0.25, 0.125, 2]
    assert layout.flat.dtype == np.float32


def test_update_is_the_difference_and_adds_up_again(sent):
    layout, reply = Layout.of(sent), changed(sent, 0.5)
    moved = layout.moved(layout.delta(reply))
    for name, array in reply.items():
        assert np.array_equal(moved[name], array)
        assert (moved[name].dtype, moved[name].shape) == (array.dtype, array.shape)


def test_arrays_that_may_not_be_written_are_read_without_a_warning(sent, recwarn):
    for array in sent.values():
        array.flags.writeable = False
    Layout.of(sent).delta(sent)
    assert not recwarn.list


def test_update_that_is_too_long_is_refused(sent):
    with pytest.raises(ValueError, match=r"update norm 28\.3 is above 10"):
        Layout.of(sent).delta(changed(sent, 10.0), max_norm=10.0)


def test_arrays_without_floating_point_have_no_columns():
    layout = Layout.of({"count": np.array([1, 2])})
    assert (layout.flat.size, layout.delta({"count": np.array([3, 4])}).size) == (0, 0)
