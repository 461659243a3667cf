"""HTML in small pieces; every foreign text passes `text` on its way in.

Knows nothing of runs.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence

KEPT = {"\n", "\t"}
OVERRIDES = frozenset("\u202a\u202b\u202d\u202e\u2066\u2067\u2068")
"""Marks that could show a text in another order than it has."""


def text(value: object) -> str:
    """Return foreign text as inert HTML: escaped, without control characters."""
    kept = (c for c in str(value) if c in KEPT or (c.isprintable() and c not in OVERRIDES))
    return html.escape("".join(kept), quote=True)


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str = "",
    numbers: Iterable[int] = (),
    data: Mapping[str, object] | None = None,
) -> str:
    """Return a table of cells that are HTML already; the first cell heads its row.

    Each cell carries its heading, which stands before it where a narrow screen shows a table as
    a list. ``data`` is for the page's script.
    """
    right = set(numbers)
    head = "".join(
        f'<th scope="col"{_side(i, right)}>{heading}</th>' for i, heading in enumerate(headings)
    )
    plain = [re.sub(r"<[^>]*>", " ", heading).strip() for heading in headings]
    body = "".join(f"<tr>{''.join(_cells(row, right, plain))}</tr>" for row in rows)
    title = f"<caption>{caption}</caption>" if caption else ""
    told = "".join(f' data-{name}="{text(value)}"' for name, value in (data or {}).items())
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="Table: {plain[0]}">'
        f"<table{told}>{title}<thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def details(summary: str, body: str) -> str:
    """Return a block that opens on demand."""
    return f"<details><summary>{summary}</summary>{body}</details>"


def section(anchor: str, heading: str, lead: str, body: str) -> str:
    """Return a section of the page."""
    intro = f'<p class="lead">{lead}</p>' if lead else ""
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-title">'
        f'<h2 id="{anchor}-title">{heading}</h2>{intro}{body}</section>'
    )


def figure(title: str, note: str, drawing: str, *, wide: bool = False) -> str:
    """Return a drawing with a heading and a note."""
    kind = "figure wide" if wide else "figure"
    below = f'<p class="note">{note}</p>' if note else ""
    return f'<figure class="{kind}"><figcaption>{title}</figcaption>{drawing}{below}</figure>'


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Return a list of terms with their values, both HTML already."""
    return f"<dl>{''.join(f'<div><dt>{k}</dt><dd>{v}</dd></div>' for k, v in rows)}</dl>"


def _cells(row: Sequence[str], right: set[int], headings: Sequence[str]) -> Iterable[str]:
    for index, cell in enumerate(row):
        if index == 0:
            yield f'<th scope="row"{_side(index, right)}>{cell}</th>'
        else:
            label = headings[index] if index < len(headings) else ""
            yield f'<td{_side(index, right)} data-label="{label}">{cell}</td>'


def _side(index: int, right: set[int]) -> str:
    return ' class="number"' if index in right else ""
