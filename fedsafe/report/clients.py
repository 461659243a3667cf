"""Who was malicious against who was down-weighted, and what was dropped and why."""

from fedsafe.report import federation, heatmap
from fedsafe.report.loader import RunData, drops
from fedsafe.report.markup import details, figure, pairs, section, table, text
from fedsafe.report.measures import NONE, percent
from fedsafe.runs.records import Detection

MOST_DROPS = 200


def clients(run: RunData) -> str:
    """Return the map of influence, detection, losses and dropped replies."""
    if not run.rounds:
        return section("clients", "The clients", "No round has ended yet.", "")
    lead = (
        "How much each client counted in each round. The strategy never sees who is malicious; "
        "only this report does."
    )
    rows = list(heatmap.rows(run.rounds, run.malicious))
    headings = ["Client", "Truth", "Asked", "Counted", "No weight", "Lost", "Mean influence"]
    beside = details("The same as a table", table(headings, rows, numbers=(0, 2, 3, 4, 5, 6)))
    drawn = figure(
        "Influence, clients by rounds",
        "",
        heatmap.draw(run.rounds, run.malicious) + heatmap.legend(),
    )
    panel = f'<div class="aside">{_detection(run)}</div>'
    lost = federation.losses(run)
    body = f'<div class="split"><div>{drawn}{beside}</div>{panel}</div>'
    body += f'<div class="split"><div>{lost}</div><div class="aside">{_dropped(run)}</div></div>'
    return section("clients", "The clients", lead, body)


def _detection(run: RunData) -> str:
    stage = run.story.trained
    found = stage.detection if stage is not None else None
    if not run.malicious:
        return "<h3>Detection</h3><p>Every client was honest.</p>"
    if found is None:
        return "<h3>Detection</h3><p>Counted once the federation has ended.</p>"
    share = _share(found.malicious_influence)
    shares = [
        (
            "Precision",
            f'{_share(found.precision)}<span class="meaning">of the rejected, malicious</span>',
        ),
        (
            "Recall",
            f'{_share(found.recall)}<span class="meaning">of the malicious, rejected</span>',
        ),
        (
            "Malicious influence",
            f'{share}<span class="meaning">mean share, over rounds</span>',
        ),
    ]
    said = ""
    if any(c.influence is None for r in run.rounds for c in r.clients):
        said = '<p class="note">A foreign strategy does not say how much each client counted.</p>'
    elif found.rejected_malicious + found.rejected_honest == 0:
        said = '<p class="note">The rule rejected nobody.</p>'
    return f'<h3>Detection</h3><div class="figures">{pairs(shares)}</div>{said}{_confusion(found)}'


def _confusion(found: Detection) -> str:
    rows = [
        ["Malicious", str(found.rejected_malicious), str(found.kept_malicious)],
        ["Honest", str(found.rejected_honest), str(found.kept_honest)],
    ]
    return table(["Replies", "Rejected", "Counted"], rows, numbers=(1, 2))


def _dropped(run: RunData) -> str:
    found = list(drops(run.rounds))
    if not found:
        return "<h3>Dropped replies</h3><p>None: every reply was accepted.</p>"
    rows = [
        [str(number), str(client), f'{status}<span class="meaning">{text(reason)}</span>']
        for number, client, status, reason in found[:MOST_DROPS]
    ]
    more = f"<p>And {len(found) - MOST_DROPS} more.</p>" if len(found) > MOST_DROPS else ""
    heading = f"<h3>Dropped replies</h3><p>{len(found)} did not reach the strategy.</p>"
    return heading + table(["Round", "Client", "Why"], rows, numbers=(0, 1)) + more


def _share(value: float | None) -> str:
    return f"<b>{percent(value)}</b>" if value is not None else f"<b>{NONE}</b>"
