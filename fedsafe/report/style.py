"""The style sheet of the report, light and dark; drawings take their colors from it."""

from fedsafe.report.style_controls import CONTROLS

_LIGHT = """
  --paper: #fbfaf8; --card: #ffffff; --ink: #1a1d21; --soft: #565d66; --faint: #626973;
  --line: #e4e1db; --rule: #eeebe6; --track: #ebe8e2; --code: #f4f2ee;
  --base: #666d7a; --aligned: #6a54a8; --clean: #1d6fb8; --attacked: #c43f1b; --defended: #097a50;
  --garbage: #85691b; --unknown: #6a6f77; --sent: #5b7fa6; --received: #a9bfd6;
"""
_DARK = """
    --paper: #121417; --card: #1a1d21; --ink: #e9e7e3; --soft: #a9aeb6; --faint: #979da6;
    --line: #2c3036; --rule: #25292e; --track: #2d3238; --code: #16191d;
    --base: #9aa3af; --aligned: #b3a1f2; --clean: #62aef0; --attacked: #ff7f5c; --defended: #3fcf98;
    --garbage: #d6b458; --unknown: #9299a3; --sent: #7fa6d1; --received: #465c74;
"""
COLORS = f"""
:root {{ color-scheme: light dark; {_LIGHT} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
"""

LAYOUT = """
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 56px; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 ui-sans-serif, system-ui, -apple-system, "Segoe UI", Inter, Roboto,
    "Helvetica Neue", "Noto Sans", "Liberation Sans", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
main, footer { max-width: 1160px; margin: 0 auto; padding: 0 32px; }
nav {
  position: sticky; top: 0; z-index: 2; display: flex; gap: 4px 22px; flex-wrap: wrap;
  padding: 11px max(32px, calc((100vw - 1096px) / 2)); background: var(--paper);
  border-bottom: 1px solid var(--line); font-size: 13px;
}
nav a { color: var(--soft); text-decoration: none; }
nav a:hover, nav a:focus-visible { color: var(--ink); text-decoration: underline; }
header { padding: 46px 0 8px; }
.eyebrow {
  margin: 0 0 4px; font-size: 12px; font-weight: 600; letter-spacing: .09em;
  text-transform: uppercase; color: var(--soft);
}
.pill {
  margin-left: 10px; padding: 2px 9px; border-radius: 99px; letter-spacing: .02em;
  text-transform: none; border: 1px solid currentColor;
}
.pill.completed { color: var(--defended); } .pill.running, .pill.unfinished { color: var(--clean); }
.pill.failed { color: var(--attacked); } .pill.interrupted { color: var(--garbage); }
h1 { margin: 0; font-size: 40px; line-height: 1.15; letter-spacing: -.022em; font-weight: 680; }
.verdict {
  margin: 16px 0 26px; max-width: 33em; font-size: 23px; line-height: 1.42;
  letter-spacing: -.008em; color: var(--soft); text-wrap: pretty;
}
.verdict .bounds { font-size: 15px; color: var(--faint); white-space: nowrap; }
.verdict + .note { margin: -18px 0 20px; }
.verdict strong { color: var(--ink); font-weight: 640; white-space: nowrap; }
.alarm {
  margin: 14px 0 0; padding: 10px 14px; border-left: 3px solid var(--attacked);
  background: var(--card); max-width: 62em;
}
section { padding: 34px 0 10px; border-top: 1px solid var(--line); margin-top: 30px; }
h2 { margin: 0 0 4px; font-size: 24px; letter-spacing: -.014em; font-weight: 660; }
h3 { margin: 22px 0 8px; font-size: 15px; font-weight: 640; }
h4 { margin: 14px 0 4px; font-size: 13px; }
.lead { margin: 0 0 22px; max-width: 46em; color: var(--soft); }
.note { margin: 6px 0 0; color: var(--soft); font-size: 13px; }
header .note + dl { margin-top: 20px; }
.meaning, figcaption span { color: var(--faint); font-size: 12.5px; font-weight: 400; }
.none { color: var(--faint); font-size: 13px; }
.unknown { color: var(--garbage); font-weight: 600; }
.grid {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr));
  gap: 20px;
}
.split { display: grid; grid-template-columns: minmax(0, 1.85fr) minmax(0, 1fr); gap: 20px 34px; }
.halves { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 34px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 16px; }
.split + .split { margin-top: 26px; }
@media (max-width: 860px) {
  .split, .halves { grid-template-columns: minmax(0, 1fr); }
  nav { flex-wrap: nowrap; overflow-x: auto; white-space: nowrap; padding: 11px 18px; }
  main, footer { padding: 0 18px; } h1 { font-size: 31px; } .verdict { font-size: 19px; }
}
footer { padding-top: 26px; padding-bottom: 46px; color: var(--faint); font-size: 13px; }
"""

PIECES = """
.card {
  padding: 15px 18px 14px; background: var(--card); border: 1px solid var(--line);
  border-top: 4px solid var(--base); border-radius: 8px; max-width: 360px;
}
.card h3 { margin: 0; font-size: 14px; overflow-wrap: anywhere; }
.card h3 .meaning { display: block; } .card p { margin: 0; }
.big { font-size: 42px; line-height: 1.2; font-weight: 660; letter-spacing: -.03em; }
.big small { font-size: 22px; font-weight: 500; letter-spacing: 0; color: var(--soft); }
.whole { white-space: nowrap; } .unit, .side { font-size: 12.5px; color: var(--faint); }
.delta { padding: 5px 0 6px; font-size: 14px; font-weight: 600; color: var(--soft); }
.delta.up { color: var(--defended); } .delta.down { color: var(--attacked); }
.edge-aligned { border-top-color: var(--aligned); }
.edge-clean { border-top-color: var(--clean); }
.edge-attacked { border-top-color: var(--attacked); }
.edge-defended { border-top-color: var(--defended); }
dl { display: flex; flex-wrap: wrap; gap: 12px 34px; margin: 0; }
dt { font-size: 12px; color: var(--faint); } dd { margin: 0; }
h1, .verdict, .lead, .note, summary, caption, figcaption, dd { overflow-wrap: anywhere; }
.aside dl, .halves dl { display: block; }
.halves dl div { display: grid; grid-template-columns: 9.5em minmax(0, 1fr); padding: 4px 0;
  border-bottom: 1px solid var(--rule); font-size: 13.5px; }
.halves dt { font-size: 13px; }
.figures dl { display: grid; grid-template-columns: 1fr 1fr; gap: 10px 18px; }
.figures b {
  display: block; font-size: 25px; font-weight: 650; letter-spacing: -.02em; line-height: 1.25;
}
.figures + .note { margin-top: 10px; }
.figures + .scroll, .note + .scroll { margin-top: 14px; }
.aside h3:first-child { margin-top: 4px; } .aside p { margin: 0 0 10px; color: var(--soft); }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: 13.5px; }
caption { padding: 0 0 8px; text-align: left; color: var(--faint); font-size: 12.5px; }
th, td {
  padding: 7px 14px 7px 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--rule);
}
thead th {
  font-size: 12.5px; font-weight: 600; color: var(--soft); border-bottom-color: var(--line);
  vertical-align: bottom; }
tbody th { font-weight: 500; }
th.number, td.number { text-align: right; padding-left: 10px; }
td .meaning, th .meaning { display: block; }
td .chip + .meaning { display: inline; white-space: nowrap; }
.measures { margin-top: 28px; }
.measures td { min-width: 132px; } .measures tbody th { min-width: 190px; font-weight: 600; }
.measures .value {
  display: block; font-size: 17px; font-weight: 620; letter-spacing: -.01em; line-height: 1.3;
}
.share { display: block; width: 120px; height: 10px; margin: 1px 0; }
.figure { margin: 0 0 6px; min-width: 0; } .figure.wide { margin-top: 30px; }
figcaption { margin: 0 0 4px; font-weight: 620; } figcaption span { margin-left: 6px; }
.drawing { overflow-x: auto; overflow-y: hidden; }
.drawing > svg { display: block; width: 100%; height: auto; }
.figure.wide .drawing > svg.small { max-width: 640px; }
.drawing > svg.wide { min-width: 640px; } .drawing > svg.wider { min-width: 940px; }
.swipe { display: none; margin: 2px 0 0; color: var(--faint); font-size: 12.5px; }
.legend {
  display: flex; flex-wrap: wrap; gap: 6px 20px; margin: 0 0 12px; font-size: 13px;
  color: var(--soft);
}
figure .legend { margin: 8px 0 0; }
.key { display: inline-flex; align-items: center; gap: 6px; margin-right: 4px; }
.note .key { vertical-align: middle; margin-left: 10px; }
.key svg { width: 14px; height: 14px; flex: none; }
details { margin: 8px 0; } details[open] { padding-bottom: 8px; }
summary {
  cursor: pointer; width: fit-content; color: var(--soft); font-size: 13px; padding: 3px 0;
}
summary:hover { color: var(--ink); }
:focus-visible { outline: 2px solid var(--clean); outline-offset: 2px; border-radius: 3px; }
code, pre {
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace;
  font-size: 12.5px;
}
pre { margin: 0; padding: 14px 16px; max-height: 560px; overflow: auto; background: var(--code);
  border: 1px solid var(--line); border-radius: 8px; line-height: 1.5; }
blockquote { margin: 0 0 8px; padding: 8px 14px; background: var(--code); border-radius: 6px;
  border-left: 3px solid var(--line); white-space: pre-wrap; overflow-wrap: anywhere; }
blockquote.asked { border-left-color: var(--clean); }
.chip {
  display: inline-block; padding: 1px 9px; border-radius: 99px; border: 1px solid;
  font-size: 12.5px; font-weight: 600;
}
.chip.good { color: var(--defended); } .chip.bad { color: var(--attacked); }
.chip.garbage { color: var(--garbage); } .chip.unknown { color: var(--unknown); }
@media (max-width: 1000px) { .swipe { display: block; } }
@media (max-width: 640px) {
  .drawing > svg.small, .drawing:has(> svg.small) { overflow: visible; }
  .drawing > svg.small text { font-size: 14px; }
  table, tbody, tr, th, td, caption { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr { padding: 8px 0; border-bottom: 1px solid var(--line); }
  tbody th, td { border: 0; padding: 2px 0; } tbody th { font-weight: 640; }
  tbody th.number { text-align: left; padding-left: 0; }
  td, td.number {
    display: flex; gap: 0 14px; justify-content: flex-end; align-items: baseline;
    padding-left: 0; flex-wrap: wrap; /* on the right; what takes a second line is read as prose */
  }
  td::before {
    content: attr(data-label); color: var(--faint); text-align: left; margin-right: auto;
  }
  .share, .held { margin-left: auto; } td .meaning, td .value { text-align: right; }
}
@media print {
  nav, .controls, .swipe { display: none; } pre { max-height: none; } body { font-size: 11px; }
  figure, tr, .card { break-inside: avoid; } h2, h3, figcaption { break-after: avoid; }
  .scroll, .drawing { overflow: visible; }
}
"""

DRAWINGS = """
svg text { fill: var(--soft); font-family: inherit; font-size: 12px; }
svg .tick { fill: var(--faint); font-size: 11.5px; } svg .tick.strong { font-weight: 640; }
svg .name { font-size: 12px; font-weight: 600; }
svg .stage { font-weight: 620; fill: var(--ink); font-size: 13px; }
svg .value {
  fill: var(--ink); font-size: 12px; paint-order: stroke; stroke: var(--paper);
  stroke-width: 3px;
}
svg .label { fill: var(--ink); }
.axis { stroke: var(--faint); } .rule { stroke: var(--rule); } .track { fill: var(--track); }
.line { fill: none; stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round; }
.band { opacity: .13; } .joint { stroke-width: 1.4; stroke-dasharray: 2 4; }
.whisker { stroke-width: 1.6; } .whisker-dark { stroke: var(--ink); stroke-width: 1.4; }
svg .beyond { font-size: 10.5px; font-weight: 600; }
.hollow { fill: var(--paper); stroke-width: 2; }
.hit .zone { fill: transparent; } .hit .guide, .hit .readout { opacity: 0; stroke: none; }
.hit .readout { fill: var(--ink); font-weight: 600; }
.hit:hover .readout { opacity: 1; }
.hit:hover .guide, .hit:focus .guide { opacity: .5; stroke: var(--soft); }
.scripted .readout { display: none; }
.dot-row .zone { fill: transparent; } .dot-row:hover .name { text-decoration: underline; }
.reference { stroke: var(--faint); stroke-dasharray: 3 4; }
.empty { fill: none; stroke: var(--faint); stroke-dasharray: 2 2; }
.empty.small { stroke-dasharray: none; opacity: .35; } .gone { fill: var(--faint); }
.cross line { stroke: var(--ink); stroke-width: 1.8; stroke-linecap: round; }
.flow { opacity: .26; } .flow:hover { opacity: .5; }
"""


def _roles() -> str:
    """Return fill, stroke and text classes of every role."""
    colors = {
        **{name: name for name in ("base", "aligned", "clean", "attacked", "defended")},
        **{name: name for name in ("garbage", "unknown", "sent", "received")},
        "honest": "clean",
        "malicious": "attacked",
        "refuse": "defended",
        "comply": "attacked",
        "time": "sent",
        "good": "defended",
        "bad": "attacked",
        "level": "base",
    }
    return "".join(
        f".fill-{role} {{ fill: var(--{color}); }} .stroke-{role} {{ stroke: var(--{color}); }} "
        f"svg .text-{role} {{ fill: var(--{color}); }}\n"
        for role, color in colors.items()
    )


STYLE = COLORS + LAYOUT + PIECES + CONTROLS + DRAWINGS + _roles()
