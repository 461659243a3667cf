"""How the run was set up: configuration, environment, defense data, hashes."""

import json
from collections.abc import Iterator

from fedsafe.report.acceptance import accepted
from fedsafe.report.defenses import counts
from fedsafe.report.loader import RunData
from fedsafe.report.markup import details, pairs, section, table, text


def setup(run: RunData) -> str:
    """Return everything needed to repeat the run."""
    lead = "Everything a repetition needs. Equal experiments on equal machines give equal runs."
    environment = (
        f"<h3>Environment</h3>{pairs(_environment(run))}"
        if run.provenance is not None
        else "<h3>Environment</h3><p>Not recorded.</p>"
    )
    yaml = f'<h3>Configuration</h3><pre tabindex="0">{text(run.configuration)}</pre>'
    body = f'<div class="halves"><div>{yaml}</div><div>{environment}{_stages(run)}</div></div>'
    return section(
        "setup", "How it was made", lead, body + _methods(run) + accepted(run) + _cards(run)
    )


def _environment(run: RunData) -> Iterator[tuple[str, str]]:
    found = run.provenance
    if found is None:
        return
    yield "FedSafe", text(found.fedsafe)
    yield "Python", text(found.python)
    yield "Runtime", text(found.runtime)
    yield "Platform", text(found.platform)
    yield "Processor", f"{text(found.processor)}, {found.cores} cores, {found.memory_gib:g} GiB"
    yield "GPUs", text(", ".join(found.gpus)) or "none"
    for name, version in found.packages.items():
        yield text(name), text(version)
    yield "Base model", _hash(found.model)
    for name, value in found.data.items():
        yield f"Data: {text(name)}", _hash(value)
    if run.summary is not None:
        yield "Experiment", _hash(run.summary.experiment)


def _stages(run: RunData) -> str:
    """Return where each stage's adapter lies."""
    if not run.stages:
        return ""
    rows = (
        (
            text(run.titles[s.name][0]),
            f"<code>{text(s.path)}</code> {_hash(s.adapter)}{_settings(run, s.name)}",
        )
        for s in run.stages
    )
    return f"<h3>Adapters</h3>{pairs(rows)}"


def _settings(run: RunData, stage: str) -> str:
    """Return all settings of a stage's defense."""
    defense = run.defenses.get(stage)
    if defense is None or not defense.settings:
        return ""
    said = ", ".join(f"{name} {value}" for name, value in defense.settings.items())
    return f'<br><span class="meaning">{text(said)}</span>'


def _methods(run: RunData) -> str:
    """Return what each defense claims, needs and costs; of a pipeline, what its last step does."""
    rows = []
    for stage in run.story.defended:
        defense = run.defenses[stage.name]
        about = defense.about
        if not about:
            continue
        spent = f"{stage.seconds:.1f} s" + (f"; {about['spent']}" if "spent" in about else "")
        said = [about.get(key, "") for key in ("claim", "badge", "paper", "needs")]
        cells = [run.titles[stage.name][0], *said, about.get("cost", ""), spent]
        rows.append([text(cell) for cell in cells])
    if not rows:
        return ""
    headings = ["Defense", "Claims", "Badge", "Paper", "Needs", "Costs", "Spent here"]
    note = "<p>Claims are the papers'; what was measured stands in the tables above.</p>"
    return f"<h3>What the defenses are</h3>{note}{table(headings, rows)}"


def _cards(run: RunData) -> str:
    """Return the counts and the cards of the data that defenses made."""
    drawn = ""
    for name, card in run.cards.items():
        rows = [[text(what), str(many)] for what, many in counts(card)]
        drawn += f"<h4>Defense <code>{text(name)}</code></h4>"
        drawn += table(["Counted", "Samples"], rows, numbers=(1,)) if rows else ""
        drawn += details(
            "The whole card",
            f'<pre tabindex="0">{text(json.dumps(card, indent=2, ensure_ascii=False))}</pre>',
        )
    return f"<h3>Data that defenses made</h3>{drawn}" if drawn else ""


def _hash(value: str) -> str:
    return f'<code title="{text(value)}">{text(value[:16])}</code>'
