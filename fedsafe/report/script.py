"""The script of a page: values under pointer and focus, sorted and filtered tables, flips.

Written by hand, without a library: the page's policy allows it by its hash, and nothing else. It
reads the page alone, writes text and never markup, and the page says everything without it.
"""

SCRIPT = r"""
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, attributes = {}, text = "") => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return element;
  };

  document.documentElement.classList.add("scripted");

  /* Values of drawings: said under the pointer, reached by Tab and then by arrow keys. */
  const tip = document.body.appendChild(make("div", { class: "tip", "aria-hidden": "true" }));
  const hide = () => tip.classList.remove("on");
  const say = (element, x, y) => {
    tip.textContent = element.getAttribute("aria-label");
    tip.classList.add("on");
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - box.width - 4))}px`;
    tip.style.top = `${y + 16 + box.height > innerHeight ? y - box.height - 8 : y + 14}px`;
  };
  const follow = (item) => {
    const box = item.getBoundingClientRect();
    say(item, box.right, box.top);
  };
  const rove = (items, from) => (event) => {
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    const ends = { Home: 0, End: items.length - 1 };
    const to = event.key in ends ? ends[event.key] : from + steps[event.key];
    if (!(to in items)) return;
    event.preventDefault();
    items[from].setAttribute("tabindex", "-1");
    items[to].setAttribute("tabindex", "0");
    items[to].focus();
  };
  for (const svg of all("svg[role=img]")) {
    for (const title of all("title", svg)) {
      const said = title.textContent;
      const owner = title.parentNode;
      title.remove(); /* the browser's own, slow tip */
      if (owner !== svg) owner.setAttribute("aria-label", said);
    }
    const items = all("[aria-label]", svg);
    if (items.length) svg.setAttribute("role", "group");
    items.forEach((item, index) => {
      item.setAttribute("role", "img");
      item.setAttribute("tabindex", index ? "-1" : "0");
      item.addEventListener("keydown", rove(items, index));
      item.addEventListener("pointermove", (event) => say(item, event.clientX, event.clientY));
      item.addEventListener("pointerleave", hide);
      item.addEventListener("blur", hide);
      item.addEventListener("focus", () => follow(item));
    });
  }
  addEventListener("keydown", (event) => event.key === "Escape" && hide());
  addEventListener("scroll", () => {
    const focused = document.activeElement;
    if (focused && focused.ownerSVGElement) follow(focused);
    else hide();
  }, { passive: true });

  /* Tables: sorted by a heading, filtered by words. */
  const units = { kib: 1024, mib: 1048576, gib: 1073741824, min: 60, h: 3600 };
  const key = (row, column) => {
    const cell = row.cells[column];
    const text = ((cell && cell.querySelector(".value")) || cell || row).textContent.trim();
    const plain = text.replace(/^\u2212/, "-");
    const number = /^[-+]?\d[\d.]*(e[-+]?\d+)?/i.exec(plain);
    if (!number) return /^(\u2013|not )/.test(plain) ? null : plain.toLowerCase();
    if (/^[-+]?[\d.]*[a-z_-]*[a-z][\w-]*$/i.test(plain) && isNaN(plain)) return plain;
    let sum = 0;
    for (const [, value, unit] of plain.matchAll(/([-+]?\d[\d.]*(?:e[-+]?\d+)?)\s*([a-z]*)/gi)) {
      sum += Number(value) * (units[unit.toLowerCase()] || 1);
      if (!/^(h|min)$/.test(unit)) break;
    }
    return sum;
  };
  const order = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return typeof a === "number" && typeof b === "number" ? a - b
      : String(a).localeCompare(String(b), "en", { numeric: true });
  };
  const sortable = (table) => {
    const body = table.tBodies[0];
    const given = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", class: "sort" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const states = { none: "ascending", ascending: "descending", descending: "none" };
        const next = states[head.getAttribute("aria-sort") || "none"];
        heads.forEach((one) => one.removeAttribute("aria-sort"));
        if (next !== "none") head.setAttribute("aria-sort", next);
        const keyed = given.map((row) => [key(row, column), row]);
        if (next !== "none") {
          const down = next === "descending";
          keyed.sort(([a], [b]) => (a === null || b === null ? order(a, b)
            : down ? order(b, a) : order(a, b)));
        }
        body.append(...keyed.map(([, row]) => row));
      });
    });
    table.classList.add("sortable");
  };
  const control = (table) => {
    const bar = make("div", { class: "controls" });
    table.parentNode.before(bar);
    return bar;
  };
  const filterable = (table) => {
    const bar = control(table);
    const label = bar.appendChild(make("label", {}, "Filter rows "));
    const input = label.appendChild(make("input", { type: "search" }));
    const said = bar.appendChild(make("span", { role: "status" }));
    const rows = [...table.tBodies[0].rows];
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        const keep = words.every((word) => text.includes(word));
        row.classList.toggle("off", !keep);
        shown += keep;
      }
      said.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
    });
  };
  for (const table of all("table")) {
    /* a narrow screen shows tables as lists: the roles keep them tables to a screen reader */
    table.setAttribute("role", "table");
    all("thead, tbody", table).forEach((part) => part.setAttribute("role", "rowgroup"));
    all("tr", table).forEach((row) => row.setAttribute("role", "row"));
    all("td", table).forEach((cell) => cell.setAttribute("role", "cell"));
    all("thead th", table).forEach((head) => head.setAttribute("role", "columnheader"));
    all("tbody th", table).forEach((head) => head.setAttribute("role", "rowheader"));
    if (!table.tHead || !table.tBodies[0]) continue;
    if (table.tBodies[0].rows.length > 2) sortable(table);
    if (table.tBodies[0].rows.length > 11) filterable(table);
  }

  /* Flips: two stages are picked, and what is the same in both goes. */
  for (const table of all("table[data-stages]")) {
    const first = Number(table.dataset.stages);
    const heads = [...table.tHead.rows[0].cells];
    const bar = control(table);
    const picks = [["From ", table.dataset.from], [" to ", table.dataset.to]].map(([name, at]) => {
      const label = bar.appendChild(make("label", {}, name));
      const pick = label.appendChild(make("select"));
      heads.slice(first).forEach((head, index) => {
        pick.append(make("option", { value: first + index }, head.textContent));
      });
      pick.value = at;
      return pick;
    });
    const said = bar.appendChild(make("span", { role: "status" }));
    const show = () => {
      const [from, to] = picks.map((pick) => Number(pick.value));
      const counts = { flipped: 0, better: 0, worse: 0 };
      heads.forEach((head, column) => {
        head.hidden = column >= first && column !== from && column !== to;
      });
      for (const row of table.tBodies[0].rows) {
        [...row.cells].forEach((cell, column) => (cell.hidden = heads[column].hidden));
        const [a, b] = [row.cells[from], row.cells[to]];
        const same = a.textContent === b.textContent;
        row.classList.toggle("same", same);
        if (same) continue;
        counts.flipped += 1;
        counts.better += Boolean(b.querySelector(".good")) && !a.querySelector(".good");
        counts.worse += Boolean(a.querySelector(".good")) && !b.querySelector(".good");
      }
      said.textContent =
        `${counts.flipped} flipped: ${counts.better} for the better, ${counts.worse} for the worse`;
    };
    picks.forEach((pick) => pick.addEventListener("change", show));
    show();
  }

  /* On paper nothing is folded. */
  const folded = new Set();
  addEventListener("beforeprint", () => all("details:not([open])").forEach((one) => {
    folded.add(one);
    one.open = true;
  }));
  addEventListener("afterprint", () => folded.forEach((one) => (one.open = false)));
})();
"""
