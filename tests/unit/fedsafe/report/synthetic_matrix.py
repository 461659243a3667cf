"""A matrix page with a search and a seeds page, of invented numbers, for tests of pages."""

from itertools import product
from pathlib import Path

from fedsafe.report import write_matrix
from fedsafe.report.measures import BUILTIN
from fedsafe.report.seeds_page import render_seeds
from fedsafe.runs.matrix_records import CellRecord, MatrixRecord, MatrixTable, TableCell
from fedsafe.runs.search_records import SearchRecord, Tried, Worst
from fedsafe.runs.seed_records import Difference, SeedStage, SeedSummary, Spread

RULES = ["fedavg", "reference-trimmed-mean", "krum byzantine=3"]
DEFENSES = ["none", "level-1", "level-2", "level-3"]


def tried(trial: str, value: float, loss: float, seed: int = 0) -> Tried:
    """Return a setting with one seed's value."""
    return Tried(
        trial=trial,
        settings={"attack.behaviour.share": 0.5},
        value=value,
        low=max(0.0, value - 0.1),
        high=min(1.0, value + 0.1),
        seeds={str(seed): value},
        losses={"new-skill": loss},
        last_losses={"new-skill": loss},
        allowed=loss <= 0.1,
    )


def search(hostile: str = "") -> SearchRecord:
    """Return a search with a winner, with one that breaks its bound anew, and with none."""
    settings = [tried("as written", 0.9, 0.0), tried(f"share=0.5 {hostile}", 0.2, 0.05)]
    broken = [tried("as written", 0.9, 0.5)]
    return SearchRecord(
        name="invented",
        status="completed",
        measure="refusal",
        direction="lowest",
        keep={"new-skill": 0.1},
        budget=8,
        seeds=[0],
        fresh_seeds=[1],
        space={"attack.behaviour.share": "0.05 to 1 (log scale)"},
        results=[
            Worst(
                labels={"federation.strategy": RULES[0], "defenses": f"none {hostile}"},
                tried=settings,
                worst=settings[1],
                fresh=tried(settings[1].trial, 0.4, 0.2, 1),
                runs=3,
            ),
            Worst(labels={"federation.strategy": RULES[1], "defenses": "none"}, tried=broken),
        ],
    )


def write_matrix_page(home: Path, hostile: str = "") -> Path:
    """Write the page of a matrix of rules by cohorts and defenses, with failed cells."""
    axes = {"federation.strategy": RULES, "federation.sampled": ["3", "10"], "defenses": DEFENSES}
    cells = [
        CellRecord(
            name="-".join(labels),
            labels=dict(zip(axes, labels, strict=True)),
            directory="cells/x",
            stages=[],
            status="failed" if labels[-1] == "level-3" else "done",
            reason=f"It was hopeless. {hostile}" if labels[-1] == "level-3" else "",
        )
        for labels in product(*axes.values())
    ]
    record = MatrixRecord(
        name="invented", status="failed", axes=axes, cells=cells, stages_total=90,
        stages_planned=40, stages_done=40,
    )  # fmt: skip
    columns = [list(one) for one in product(axes["federation.sampled"], DEFENSES)]
    table = MatrixTable(
        measure="refusal",
        stage="final",
        rows=["federation.strategy"],
        columns=["federation.sampled", "defenses"],
        row_labels=[[f"{rule} {hostile}".strip()] for rule in RULES],
        column_labels=columns,
        cells=[
            [
                TableCell(
                    mean=(row + column) % 5 / 4, low=0.0, high=1.0, runs=3, failed=column % 2,
                    seeds={"0": 0.1},
                )
                for column in range(len(columns))
            ]
            for row in range(len(RULES))
        ],
        averaged={"seed": 3},
    )  # fmt: skip
    return write_matrix(home, record, [table], search(hostile))


def write_seeds_page(home: Path, hostile: str = "") -> Path:
    """Write the page of an experiment with two seeds."""
    spread = Spread(mean=0.5, sd=0.1, low=0.3, high=0.7, seeds={0: 0.4, 1: 0.6})
    measures = dict.fromkeys(BUILTIN, spread)
    names = ["base", "clean", "attacked", f"defended:{hostile or 'fine-tune'}"]
    differences = [
        Difference(
            before="attacked", after=names[-1], measure=measure, mean=0.9, low=-0.1, high=1.0,
            pairs=400, groups=26, gained=300, lost=2, p_value=1e-9, p_adjusted=1e-8,
            bootstrap_low=0.8, bootstrap_high=1.0,
        )
        for measure in BUILTIN
    ]  # fmt: skip
    summary = SeedSummary(
        name="invented",
        experiment="e",
        seeds=[0, 1],
        runs={0: "seed-0", 1: "seed-1"},
        judges=["micro-exact"],
        displays=dict(BUILTIN),
        stages=[SeedStage(name=name, measures=measures) for name in names],
        differences=differences,
    )
    page = home / "seeds.html"
    page.write_text(render_seeds(summary), encoding="utf-8")
    return page
