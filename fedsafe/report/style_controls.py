"""Styles of what the page's script adds: values pointed at, sorting, filters, choices."""

CONTROLS = """
.tip {
  position: fixed; z-index: 9; display: none; max-width: min(340px, calc(100vw - 8px));
  padding: 5px 10px; border-radius: 6px; background: var(--ink); color: var(--paper);
  font-size: 13px; line-height: 1.4; pointer-events: none;
  white-space: pre-line; overflow-wrap: anywhere;
}
.tip.on { display: block; }
.sort {
  all: unset; box-sizing: border-box; cursor: pointer; font: inherit; color: inherit;
  text-align: inherit;
}
.sort:hover { color: var(--ink); }
.sort:focus-visible { outline: 2px solid var(--clean); outline-offset: 2px; border-radius: 3px; }
.sort::after { content: "\u00a0↕"; font-size: 10px; color: var(--faint); }
[aria-sort] .sort { color: var(--ink); }
[aria-sort=ascending] .sort::after { content: "\u00a0▲"; font-size: 10px; }
[aria-sort=descending] .sort::after { content: "\u00a0▼"; font-size: 10px; }
.controls {
  display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; margin: 4px 0 8px;
  font-size: 13px; color: var(--soft);
}
.controls input, .controls select {
  font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--faint);
  border-radius: 6px; padding: 4px 8px; max-width: 100%;
}
tr.off, tr.same { display: none; }
@media screen {
  .scroll:has(> [data-stages]) { max-height: 34rem; overflow: auto; }
  [data-stages] thead th { position: sticky; top: 0; background: var(--paper); z-index: 1; }
}
svg [tabindex] { outline: none; }
svg [tabindex]:focus-visible > *, svg path[tabindex]:focus-visible {
  stroke: var(--ink); stroke-width: 2;
}
@media (max-width: 640px) {
  table.sortable thead { position: static; width: auto; height: auto; clip-path: none; }
  table.sortable thead tr { display: flex; flex-wrap: wrap; gap: 6px; border: 0; }
  table.sortable thead th { padding: 0; border: 0; }
  table.sortable thead .meaning { display: none; }
  table.sortable .sort {
    padding: 3px 10px; border: 1px solid var(--line); border-radius: 99px; font-weight: 500;
  }
  tr.off, tr.same, th[hidden], td[hidden] { display: none; }
}
"""
