"""Client section of the report: influence, attacker detection, dropped replies."""

from collections.abc import Iterator

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
    headings = ["Client", "Truth", "Asked", "Counted", "No weight", "Left out", "Lost"]
    headings.append("Mean influence")
    beside = details("The same as a table", table(headings, rows, numbers=(0, *range(2, 8))))
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
    said = ""
    if any(c.influence is None for r in run.rounds for c in r.clients):
        said = '<p class="note">A foreign strategy does not say how much each client counted.</p>'
    elif found.passed_over_malicious + found.passed_over_honest:
        said = (
            '<p class="note">In rounds where the rule used fewer than half of the replies, as Krum '
            "picks one, the others are passed over: neither rejected nor counted.</p>"
        )
    elif found.rejected_malicious + found.rejected_honest == 0:
        said = '<p class="note">No reply was rejected.</p>'
    figures = f'<div class="figures">{pairs(_shares(found))}</div>'
    return f"<h3>Detection</h3>{figures}{said}{_confusion(found)}{_by_round(found)}"


def _shares(found: Detection) -> Iterator[tuple[str, str]]:
    """Yield the figures of detection: influence first, which every rule has."""
    share = "" if found.malicious_share is None else f" for {percent(found.malicious_share)}"
    yield _figure(
        "Malicious influence",
        _share(found.malicious_influence),
        f"mean share over rounds{share}{' of the replies' if share else ''}",
    )
    if found.auc is not None:
        chance = "" if found.p_value is None else f"; p {found.p_value:.2g}"
        yield _figure(
            "AUC of influence",
            f"<b>{found.auc:.2f}</b>",
            f"an honest client counts more than a malicious one; 0.5 tells nothing{chance}",
        )
    yield _figure("Precision", _share(found.precision), "of the rejected, malicious")
    yield _figure("Recall", _share(found.recall), "of the malicious, rejected")


def _figure(name: str, value: str, meaning: str) -> tuple[str, str]:
    return name, f'{value}<span class="meaning">{meaning}</span>'


def _confusion(found: Detection) -> str:
    rows = [
        ["Malicious", found.rejected_malicious, found.passed_over_malicious, found.kept_malicious],
        ["Honest", found.rejected_honest, found.passed_over_honest, found.kept_honest],
    ]
    headings = ["Replies", "Rejected", "Passed over", "Counted"]
    return table(headings, [[str(cell) for cell in row] for row in rows], numbers=(1, 2, 3))


def _by_round(found: Detection) -> str:
    rows = [
        [
            str(one.round),
            str(one.replies),
            percent(one.malicious_share),
            percent(one.malicious_influence),
            NONE if one.auc is None else f"{one.auc:.2f}",
        ]
        for one in found.rounds
    ]
    headings = ["Round", "Replies", "Malicious", "Their influence", "AUC"]
    return details("Round by round", table(headings, rows, numbers=range(5))) if rows else ""


def _dropped(run: RunData) -> str:
    found = list(drops(run.rounds))
    if not found:
        return "<h3>Dropped replies</h3><p>None: every reply reached the rule.</p>"
    rows = [
        [str(number), str(client), f'{status}<span class="meaning">{text(reason)}</span>']
        for number, client, status, reason in found[:MOST_DROPS]
    ]
    more = f"<p>And {len(found) - MOST_DROPS} more.</p>" if len(found) > MOST_DROPS else ""
    heading = f"<h3>Dropped replies</h3><p>{len(found)} did not reach the rule.</p>"
    return heading + table(["Round", "Client", "Why"], rows, numbers=(0, 1)) + more


def _share(value: float | None) -> str:
    return f"<b>{percent(value)}</b>" if value is not None else f"<b>{NONE}</b>"
