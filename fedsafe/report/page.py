"""Render the report: one self-contained HTML file, no network access.

The policy in its head allows the page's own style sheet and script by their hashes and nothing
else, so that no text of a model could load or run anything even if it were not escaped.
"""

import base64
import hashlib
from pathlib import Path

from fedsafe.report.clients import clients
from fedsafe.report.depth_page import depth
from fedsafe.report.federation import costs, over_rounds
from fedsafe.report.flips import flips
from fedsafe.report.lm_eval_page import lm_eval
from fedsafe.report.loader import RunData, read
from fedsafe.report.markup import section, text
from fedsafe.report.samples import samples
from fedsafe.report.script import SCRIPT
from fedsafe.report.setup import setup
from fedsafe.report.stage_charts import stage_charts
from fedsafe.report.style import STYLE
from fedsafe.report.summary import before_after, masthead
from fedsafe.report.trade_chart import trade_curves
from fedsafe.runs.files import write_text
from fedsafe.runs.layout import RunFile

LINKS = (
    ("before-after", "Before and after"),
    ("stages", "Stages"),
    ("depth", "Depth"),
    ("trades", "Trades"),
    ("lm-eval", "lm-eval"),
    ("rounds", "Rounds"),
    ("clients", "Clients"),
    ("costs", "Costs"),
    ("flips", "Flips"),
    ("exchanges", "Exchanges"),
    ("setup", "Setup"),
)


def write(run: Path, *, reveal: bool = False) -> Path:
    """Write a run's report and return its path.

    Args:
        run: A run directory, finished or not.
        reveal: Show prompts and replies, in a file of its own.

    Raises:
        RunError: It is no run directory, or one of its files is broken.
    """
    page = run / (RunFile.REVEALED_REPORT if reveal else RunFile.REPORT)
    write_text(page, render(read(run), reveal=reveal))
    return page


def render(run: RunData, *, reveal: bool = False) -> str:
    """Return the page of a run."""
    spent = costs(run)
    sections = [
        before_after(run),
        stage_charts(run),
        depth(run),
        trade_curves(run),
        lm_eval(run),
        over_rounds(run) if run.rounds or run.control else "",
        clients(run),
        section("costs", "Traffic and time", "", spent) if spent else "",
        flips(run),
        samples(run, reveal=reveal),
        setup(run),
    ]
    body = "".join(sections)
    links = "".join(
        f'<a href="#{anchor}">{name}</a>' for anchor, name in LINKS if f'id="{anchor}"' in body
    )
    return document(run.name, links, masthead(run) + body)


def document(name: str, links: str, body: str) -> str:
    """Return a whole page: a head that lets nothing load, links to sections, the body, a footer."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{_policy()}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        '<meta name="referrer" content="no-referrer">'
        f'<link rel="icon" href="data:,"><title>{text(name)}: FedSafe report</title>'
        f"<style>{STYLE}</style></head><body>"
        f'<nav aria-label="Sections">{links}</nav><main>{body}</main>'
        "<footer>Drawn from the run directory alone by FedSafe. A wind tunnel, not the sky: "
        "what holds on a small model need not hold on a large one.</footer>"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _policy() -> str:
    rules = (
        f"default-src 'none'; style-src {_digest(STYLE)}; script-src {_digest(SCRIPT)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return f'<meta http-equiv="Content-Security-Policy" content="{rules}">'


def _digest(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
