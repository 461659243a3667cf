import numpy as np
import pytest
import torch

from strategies.kernels import gram_matrix
from strategies.kernels.gram_matrix import measure, norms
from strategies.kernels.update_matrix import Rows


def exact(rows):
    wide = rows.double()
    return torch.cdist(wide, wide, compute_mode="donot_use_mm_for_euclid_dist").square()


@pytest.fixture(params=[True, False], ids=["small", "large"])
def size(request, monkeypatch):
    """Distances from float64 products, and from float32 ones where those will do."""
    if not request.param:
        monkeypatch.setattr(gram_matrix, "_SMALL", 0)


@pytest.mark.parametrize("n", [7, 30, 60])
def test_distances_are_right_where_the_common_part_dwarfs_them(n, size):
    """Base norm 1e4, spread 1e-2: where cdist (n > 25) and float32 Gram matrices fail."""
    generator = torch.Generator().manual_seed(n)
    d = 20_000
    base = torch.randn(d, generator=generator)
    spread = torch.randn(n, d, generator=generator)
    rows = 1e4 * base / base.norm() + 1e-2 * spread / spread.norm(dim=1, keepdim=True)
    expected = exact(rows)
    found = measure(Rows(rows)).squared_distances()
    off = ~torch.eye(n, dtype=torch.bool)
    assert float((found / expected - 1)[off].abs().max()) < 1e-4
    assert not found.diagonal().any()


@pytest.mark.parametrize("size_of_attack", [1e6, 1e15, 1e30])
def test_distances_among_the_honest_survive_any_attacker(size_of_attack, size):
    rows = torch.randn(9, 3000, generator=torch.Generator().manual_seed(0))
    rows[:3] = size_of_attack * torch.randn(3, 3000, generator=torch.Generator().manual_seed(1))
    found = measure(Rows(rows)).squared_distances()
    assert torch.allclose(found[3:, 3:], exact(rows[3:]), rtol=1e-4)
    assert float(found[0, 5] / exact(rows)[0, 5]) == pytest.approx(1, rel=1e-4)


def test_attack_outside_the_sampled_columns_does_no_harm(size):
    rows = torch.randn(9, 60_000, generator=torch.Generator().manual_seed(0))
    rows[0, 300:3000] = 1e12
    found = measure(Rows(rows)).squared_distances()
    assert torch.allclose(found[1:, 1:], exact(rows[1:]), rtol=1e-4)


def test_rows_hardly_apart_are_told_apart(size):
    rows = torch.randn(1, 5000, generator=torch.Generator().manual_seed(0)).repeat(6, 1)
    rows[3:] += torch.randn(3, 5000, generator=torch.Generator().manual_seed(1))
    rows[1, 7] += 1e-3
    found = measure(Rows(rows)).squared_distances()
    assert found[0, 2] == 0
    assert float(found[0, 1] / exact(rows)[0, 1]) == pytest.approx(1, rel=1e-3)


def test_mixtures_and_a_guest_are_measured_without_being_formed():
    generator = torch.Generator().manual_seed(0)
    rows, guest = torch.randn(6, 500, generator=generator), torch.randn(500, generator=generator)
    mixing = torch.rand(4, 6, generator=generator).double()
    formed = torch.cat([mixing @ rows.double(), guest[None].double()])
    found = measure(Rows(rows, mixing), guest)
    assert torch.allclose(found.inner(), formed @ formed.T)
    assert torch.allclose(found.squared_distances(), exact(formed))
    assert torch.allclose(found.squared_norms(), formed.square().sum(dim=1))
    cosines = torch.nn.functional.cosine_similarity(formed[:, None], formed, dim=2)
    assert torch.allclose(found.cosines(), cosines)


def test_zero_row_has_no_direction():
    rows = torch.randn(4, 100, generator=torch.Generator().manual_seed(0))
    rows[2] = 0
    assert not measure(Rows(rows)).cosines()[2].any()


def test_guest_must_be_finite():
    with pytest.raises(ValueError, match="reference update must be finite"):
        measure(Rows(torch.ones(3, 4)), torch.tensor([1.0, torch.nan, 0, 0]))


def test_matrix_is_measured_once_where_shared(monkeypatch):
    calls = []
    products = gram_matrix._products
    monkeypatch.setattr(gram_matrix, "_products", lambda *a: calls.append(1) or products(*a))
    rows = Rows(torch.randn(5, 300))
    with gram_matrix.shared():
        measure(rows)
        measure(Rows(rows.matrix, torch.eye(5).double()))
    assert len(calls) == 1
    measure(rows)
    assert len(calls) == 2


@pytest.mark.parametrize("scale", [1.0, 1e25, 1e-3])
def test_norms_are_right(scale):
    rows = np.random.default_rng(0).normal(size=(5, 40_000)) * scale
    found = norms(Rows(torch.from_numpy(rows.astype(np.float32))))
    assert np.allclose(found.numpy(), np.linalg.norm(rows, axis=1), rtol=1e-5)
