"""What public code of update attacks computes on small inputs, as numbers in methods/.

Each case names its source: repository, commit, file, function. Random draws stand in the cases,
and go into the formulas that the plug-ins are made of.
"""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from fedsafe.attacks import alie, fang_krum, fang_trim, gaussian, mimic
from fedsafe.contracts import Aggregate, Knowledge, update_attacks
from strategies import aggregate
from strategies.kernels.gram_matrix import measure
from strategies.kernels.update_matrix import Rows
from strategies.rules.krum import krum_scores

FOLDER = Path(__file__).with_name("methods")
DEVIATIONS = {"unit_vec": "unit", "sign": "sign", "std": "std"}


def cases(topic: str, *attacks: str) -> list[Any]:
    """Return a topic's cases of some attacks, by the beginnings of their names."""
    return [
        pytest.param(case, id=case["id"])
        for case in json.loads((FOLDER / f"attacks-{topic}.json").read_text(encoding="utf-8"))[
            "cases"
        ]
        if case.get("attack", "").startswith(attacks) and ("honest" in case or "rows" in case)
    ]


def forged(name: str, rows: Tensor, n: int = 0, f: int = 1, **settings: Any) -> Tensor:
    """Return what an attack makes of the honest clients' updates."""
    knowledge = Knowledge(
        round=1,
        client=0,
        rng=Random(0),
        model=torch.zeros(rows.shape[1]),
        cohort=n or len(rows) + f,
        attackers=f,
        honest=rows,
        aggregate=settings.pop("rule", None),
        memory=settings.pop("memory", {}),
        rule=settings.pop("named", None),
    )
    attack = update_attacks[name].configure({"knows": "honest", **settings})
    return attack(rows[0], knowledge)


def forged_by_all(case: dict[str, Any], name: str, **settings: Any) -> Tensor:
    """Return what each attacker sends who knows all benign updates, (f, d)."""
    rows, f = tensor(case["rows"]), case["first_f_are_the_attackers_own"]
    sent = []
    for position in range(f):
        knowledge = Knowledge(
            round=1,
            client=position,
            rng=Random(0),
            model=torch.zeros(rows.shape[1]),
            cohort=len(rows),
            attackers=f,
            colluders=rows[:f],
            position=position,
            benign=rows[:f],
            honest=None if settings.get("knows") == "colluders" else rows[f:],
        )
        sent.append(update_attacks[name].configure(settings)(rows[position], knowledge))
    return torch.stack(sent)


def tensor(values: Any, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.as_tensor(values, dtype=dtype)


def close(found: Tensor, expected: Any, tolerance: float = 1e-6) -> bool:
    wanted = tensor(expected)
    return torch.allclose(
        found.double(), wanted, rtol=tolerance, atol=tolerance * float(wanted.abs().max())
    )


# --- ByzFL --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("byzfl", "sign-flip", "ipm", "alie", "mimic"))
def test_attack_is_byzfl_s(case: dict[str, Any]) -> None:
    given = case["parameters"]
    name, settings = {
        "sign-flip-of-mean": ("sign-flip", {}),
        "ipm": ("ipm", {"epsilon": given.get("tau")}),
        "alie": ("alie", {"z": given.get("tau"), "sign": "+"}),
        "mimic": ("mimic", {"target": given.get("epsilon")}),
    }[next(k for k in ("sign-flip-of-mean", "ipm", "alie", "mimic") if case["id"].startswith(k))]
    assert close(forged(name, tensor(case["honest"]), **settings), case["attack_vector"])


@pytest.mark.parametrize("case", cases("byzfl", "optimal"))
def test_line_searched_attack_is_byzfl_s(case: dict[str, Any]) -> None:
    given = case["parameters"]
    rule, *filters = given["aggregator"].split("-")
    settings = {} if rule == "median" else {"byzantine": given["f"]}
    name = {"trmean": "trimmed-mean", "median": "median"}[rule]
    mixing = [{"name": "nnm", "byzantine": given["f"]}] if filters else []

    def server(matrix: Tensor) -> Aggregate:
        return aggregate(name, matrix, filters=mixing, **settings)

    found = forged(
        "ipm-search" if "ipm" in case["attack"] else "alie-search",
        tensor(case["honest"]),
        f=given["f"],
        evaluations=given["evals"],
        start=given["start"],
        step=given["delta"],
        ratio=given["ratio"],
        rule=server,
    )
    assert close(found, case["attack_vector"])


@pytest.mark.parametrize("case", cases("byzfl", "gaussian"))
def test_gaussian_has_byzfl_s_mean_and_deviation(case: dict[str, Any]) -> None:
    given = case["parameters"]
    draws = tensor(given["standard_normal_draws"])
    assert close(given["mu"] + given["sigma"] * draws, case["attack_vector"])
    sent = forged("gaussian", torch.zeros(2, 20_000), knows="update", mean=0.5, deviation=2.0)
    assert sent.mean() == pytest.approx(0.5, abs=0.1)
    assert sent.std() == pytest.approx(2.0, abs=0.1)


# --- epfml, Baruch ------------------------------------------------------------------------


def test_z_of_alie_is_the_formula_s_for_all_n_and_f() -> None:
    (table,) = [
        case
        for case in json.loads((FOLDER / "attacks-alie-ipm-mimic.json").read_text())["cases"]
        if "formula" in case
    ]
    for key, expected in table['z_max_of_"n,f"'].items():
        assert alie.z_of(*map(int, key.split(","))) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("case", cases("alie-ipm-mimic", "alie"))
def test_alie_is_the_authors_code(case: dict[str, Any]) -> None:
    given = case["parameters"]
    rows, size = tensor(case["honest"]), given.get("num_std")
    found = forged(
        "alie",
        rows,
        n=given.get("n_all", 0),
        f=given.get("f", 1),
        z=size,
        ddof=given["ddof"],
        sign=given["sign"],
    )
    assert close(found, case["attack_vector"])


def test_mimic_copies_the_client_that_the_drift_points_at_and_then_keeps_it() -> None:
    """Against the definition: mu and z by hand over two rounds, start as the random draw."""
    rounds = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1)).double()
    draw = torch.randn(8, generator=torch.Generator().manual_seed(2)).double()
    memory = {"direction": draw}
    sent = [forged("mimic", rows, warmup=2, memory=memory) for rows in rounds]
    mean = rounds[0].mean(0)
    z = sum((row - mean) @ draw * (row - mean) for row in rounds[0])
    z = z / z.norm()
    first = int((rounds[0] @ z).argmax())
    mean = mean / 2 + rounds[1].mean(0) / 2
    step = sum((row - mean) @ z * (row - mean) for row in rounds[1])
    z = z / 2 + step / step.norm() / 2
    second = int((rounds[1] @ z).argmax())
    assert [close(sent[0], rounds[0][first]), close(sent[1], rounds[1][second])] == [True] * 2
    assert close(sent[2], rounds[2][second])
    assert mimic.mimic is update_attacks["mimic"].function


# --- NDSS 2021 ----------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("ndss21", "lie-"))
def test_lie_is_that_of_ndss21(case: dict[str, Any]) -> None:
    given = case["parameters"]
    found = forged(
        "alie", tensor(case["honest"]), z=given["z"], ddof=given["ddof"], sign=given["sign"]
    )
    assert close(found, case["attack_vector"])


def test_z_table_of_ndss21_is_not_the_formula_s() -> None:
    (case,) = [
        case
        for case in json.loads((FOLDER / "attacks-ndss21.json").read_text())["cases"]
        if "z_values_in_the_code" in case
    ]
    for f, expected in case["z_of_the_formula"].items():
        assert alie.z_of(50, int(f)) == pytest.approx(expected, abs=1e-9)
        assert case["z_values_in_the_code"][f] != pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("case", cases("ndss21", "min-"))
def test_min_max_and_min_sum_are_those_of_ndss21(case: dict[str, Any]) -> None:
    given = case["parameters"]
    bound = {"bound": "smallest-squares"} if "min-sum" in case["id"] else {}
    found = forged(
        "min-sum" if bound else "min-max",
        tensor(case["honest"], torch.float32),
        perturbation=DEVIATIONS[given["deviation"]],
        start=given["start"],
        tolerance=given["precision"],
        **bound,
    )
    assert close(found, case["attack_vector"])


@pytest.mark.parametrize("case", cases("ndss21", "agr-tailored"))
def test_agr_tailored_attack_is_that_of_ndss21(case: dict[str, Any]) -> None:
    given = case["parameters"]
    rule = next(r for r in ("median", "multi-krum", "trimmed-mean") if r in case["attack"])
    found = forged(
        "agr-tailored",
        tensor(case["honest"], torch.float32),
        f=given["f"],
        perturbation=DEVIATIONS[given["deviation"]],
        start=given["start"],
        tolerance=given["precision"],
        accepted="selected" if rule == "multi-krum" else "farther",
        rule=SERVERS[rule](given["f"]),
    )
    assert close(found, case["attack_vector"])


def iterated_krum(f: int) -> Any:
    """Return NDSS 2021's Multi-Krum: scored again after each choice, down to 2f + 2 rows."""

    def server(matrix: Tensor) -> Aggregate:
        squared = measure(Rows(matrix)).squared_distances()
        left, chosen = list(range(len(matrix))), []
        while len(left) > 2 * f + 2:
            scores = krum_scores(squared[left][:, left], f + 1)
            chosen.append(left.pop(int(scores.argmin())))
        influence = torch.zeros(len(matrix))
        influence[chosen] = 1 / len(chosen)
        return Aggregate(matrix[chosen].mean(0), influence)

    return server


SERVERS: dict[str, Any] = {
    "median": lambda _: lambda matrix: Aggregate(matrix.median(0).values, torch.zeros(len(matrix))),
    "trimmed-mean": lambda f: lambda matrix: aggregate("trimmed-mean", matrix, byzantine=f),
    "multi-krum": iterated_krum,
}
"""Rules as NDSS 2021's code has them; its median is the lower of the middle two."""


@pytest.mark.parametrize("case", cases("ndss21", "fang-trimmed-mean"))
def test_fang_on_trimmed_mean_has_the_defect_of_ndss21_where_asked_for(
    case: dict[str, Any],
) -> None:
    rows, f = tensor(case["honest"]), case["parameters"]["f"]
    drawn = tensor(case["parameters"]["uniform_draws_(d,f)"])
    for attacker in range(f):
        one = drawn[:, attacker]
        found = fang_trim.beyond_extremes_drawn(rows, one, 2.0, zero_where_negative=True)
        assert close(found, case["attack_vectors"][attacker])
        right = fang_trim.beyond_extremes_drawn(rows, one, 2.0)
        mean = rows.mean(0)
        assert (right[mean < 0] >= rows.amax(0)[mean < 0]).all()
        assert (right[mean > 0] <= rows.amin(0)[mean > 0]).all()


# --- FLDetector's code of Fang et al. -----------------------------------------------------


@pytest.mark.parametrize("case", cases("fang-fldetector", "full_trim"))
def test_full_trim_is_fldetector_s(case: dict[str, Any]) -> None:
    found = forged_by_all(case, "fang-trim", draws="none", knows="all")
    assert close(found, case["attack_vectors"])


@pytest.mark.parametrize("case", cases("fang-fldetector", "partial_trim"))
def test_partial_trim_is_fldetector_s(case: dict[str, Any]) -> None:
    found = forged_by_all(case, "fang-trim", draws="none", knows="colluders")
    assert close(found, case["attack_vectors"])


@pytest.mark.parametrize("case", cases("fang-fldetector", "mean_attack"))
def test_mean_attack_is_fldetector_s(case: dict[str, Any]) -> None:
    assert close(forged_by_all(case, "sign-flip"), case["attack_vectors"])


@pytest.mark.parametrize("case", cases("fang-fldetector", "full_mean"))
def test_full_mean_attack_is_fldetector_s(case: dict[str, Any]) -> None:
    assert close(forged_by_all(case, "reversed-mean"), case["attack_vectors"])


@pytest.mark.parametrize("case", cases("fang-fldetector", "scaling"))
def test_scaling_by_n_is_fldetector_s(case: dict[str, Any]) -> None:
    assert close(forged_by_all(case, "scaling", factor="n"), case["attack_vectors"])


@pytest.mark.parametrize("case", cases("fang-fldetector", "gaussian"))
def test_gaussian_around_the_rows_is_fldetector_s(case: dict[str, Any]) -> None:
    rows, f = tensor(case["rows"]), case["first_f_are_the_attackers_own"]
    drawn = map(tensor, case["draws_in_order"])
    for own, draws, wanted in zip(rows[:f], drawn, case["attack_vectors"], strict=True):
        assert close(gaussian.around(rows, draws, f, float(own.norm())), wanted)


@pytest.mark.parametrize("case", cases("fang-fldetector", "dir_full_krum"))
def test_full_krum_attack_is_fldetector_s(case: dict[str, Any]) -> None:
    rows, f = tensor(case["rows"]), case["first_f_are_the_attackers_own"]
    sent = fang_krum.full_krum(rows[f:], rows, f)
    assert close(sent, case["attack_vectors"][0])
    draws = case["draws_in_order"] or []
    for raw, length, wanted in zip(
        draws[::2], draws[1::2], case["attack_vectors"][1:], strict=True
    ):
        noise = fang_krum.nearby(tensor(raw), length[0], 0.01)
        assert close(sent + noise, wanted)


@pytest.mark.parametrize("case", cases("fang-fldetector", "dir_partial_krum"))
def test_partial_krum_attack_is_fldetector_s(case: dict[str, Any]) -> None:
    found = forged_by_all(case, "fang-krum", knows="colluders")
    assert close(found, case["attack_vectors"])


# --- SignGuard ----------------------------------------------------------------------------


SIGNGUARD: dict[str, dict[str, Any]] = {
    "min-max": {"search": "signguard", "knows": "all"},
    "min-sum": {"search": "signguard", "bound": "largest-distances", "knows": "all"},
    "byz-mean": {},
    "sign-flip": {},
    "alie": {"z": 1.0, "knows": "all"},
}


@pytest.mark.parametrize("case", cases("signguard", ""))
def test_attack_is_signguard_s(case: dict[str, Any]) -> None:
    given = "alie" if case["attack"] == "lie" else case["attack"].removesuffix("-each")
    found = forged_by_all(case, given, **SIGNGUARD[given])
    assert close(found, case["attack_vectors"])
