"""Pages in a browser: no error, no request, no overflow, accessible, and hostile text stays text.

One Chromium serves all; where it is not installed (Debian's package `chromium`) they are skipped.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from fedsafe.pipeline.comparison import compare
from fedsafe.report import write
from fedsafe.report.comparison_page import write_comparison
from tests.doubles.evaluated_runs import evaluated_run, refuses
from tests.unit.fedsafe.report.synthetic import write_run
from tests.unit.fedsafe.report.synthetic_matrix import write_matrix_page, write_seeds_page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, PROGRAMS)), None)
HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>",
    "\x1b[31m\x1b[2J\x07\x9b0m",
    "\u202egnorw\u202c \u2066\u061c\u200f עברית \u0645\u0631\u062d\u0628\u0627",
    "w" * 1_000_000,
)
WIDTHS = (390, 1280)
AXE = {
    "resultTypes": ["violations"],
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
}
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("There is no chromium here: `apt-get install chromium` brings it.")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run's report, the same revealed with hostile replies, a comparison, a matrix, seeds."""
    home = tmp_path_factory.mktemp("pages")
    run = write_run(home / "run", rounds=3)
    for path in run.glob("evaluations/*/exchanges.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for index, row in enumerate(rows):
            row["reply"] = HOSTILE[index % 3]
            row["instruction"] = HOSTILE[(index + 1) % 3]
        rows[0]["reply"] = HOSTILE[3]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    replies = iter(HOSTILE * 20)
    one = evaluated_run(home / "a", {"attacked": refuses(2)}, reply=lambda _: next(replies))
    other = evaluated_run(home / "b", {"attacked": refuses(7)}, reply=lambda _: HOSTILE[0])
    write_comparison(home / "compare.html", compare([one, other], reveal=True))
    revealed = write(run, reveal=True)
    hostile = " ".join((*HOSTILE[:3], "w" * 2000))
    return {
        "report": write(run),
        "revealed": revealed,
        "comparison": home / "compare.html",
        "matrix": write_matrix_page(home, hostile),
        "seeds": write_seeds_page(home, hostile),
    }


@contextmanager
def opened(
    browser: Browser, path: Path, width: int, scheme: str = "light", *, script: bool = True
) -> Iterator[tuple[Page, list[str]]]:
    """Yield a page, and what went wrong on it: errors, and requests other than for itself."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
        java_script_enabled=script,
    )
    page, wrong = context.new_page(), []
    page.on("console", lambda message: wrong.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("request", lambda one: wrong.append(one.url) if one.url != path.as_uri() else None)
    try:
        page.goto(path.as_uri())
        yield page, wrong
    finally:
        context.close()


@pytest.fixture(scope="module")
def report(browser: Browser, pages: dict[str, Path]) -> Iterator[Page]:
    with opened(browser, pages["report"], 1280) as (page, _):
        yield page


@pytest.mark.parametrize("name", ["report", "revealed", "comparison", "matrix", "seeds"])
def test_page_fits_loads_nothing_and_says_no_error(
    name: str, browser: Browser, pages: dict[str, Path]
) -> None:
    with opened(browser, pages[name], WIDTHS[0]) as (page, wrong):
        page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
        wide = {}
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            wide[width] = page.evaluate("document.documentElement.scrollWidth")
        assert page.evaluate("window.hacked") is None
    assert wrong == []
    assert wide == {width: width for width in WIDTHS}


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("report", 1280, "light"),
        ("report", 390, "dark"),
        ("comparison", 390, "light"),
        ("matrix", 390, "light"),
        ("matrix", 1280, "dark"),
        ("seeds", 390, "dark"),
        ("seeds", 1280, "light"),
    ],
)
def test_page_has_no_serious_barrier(
    name: str, width: int, scheme: str, browser: Browser, pages: dict[str, Path]
) -> None:
    with opened(browser, pages[name], width, scheme) as (page, _):
        found = Axe().run(page, options=AXE)
    told = {
        one["id"]: [node["html"][:200] for node in one["nodes"][:3]]
        for one in found.response["violations"]
        if one["impact"] in SERIOUS
    }
    assert told == {}


def test_heading_sorts_its_table(report: Page) -> None:
    table = report.locator("#clients details table").first
    heads = table.locator("thead th").all_text_contents()
    index = next(i for i, head in enumerate(heads) if head.startswith("Counted"))
    table.locator("thead button").nth(index).evaluate("(button) => button.click()")
    assert table.locator("thead th").nth(index).get_attribute("aria-sort") == "ascending"
    cells = table.locator(f"tbody tr > :nth-child({index + 1})").all_text_contents()
    assert [int(cell) for cell in cells] == sorted(int(cell) for cell in cells)


def test_words_filter_a_table(report: Page) -> None:
    report.locator("#flips input").fill("utility-new")
    rows = report.locator("#flips tbody tr:not(.off) th").all_text_contents()
    assert rows
    assert all(row.startswith("utility-new") for row in rows)
    report.locator("#flips input").fill("")


def test_two_stages_are_picked_to_see_flips(report: Page) -> None:
    first, second = report.locator("#flips select").all()
    first.select_option("Attacked")
    second.select_option("Defended: fine-tune")
    row = report.locator("#flips tbody tr:not(.same)").first
    before, after = row.locator("td:not([hidden]) .chip").all_text_contents()
    assert before != after
    assert "for the better" in report.locator("#flips .controls span").all_text_contents()[-1]


def test_values_of_a_chart_are_reached_by_keyboard_and_said(report: Page) -> None:
    marks = report.locator("#rounds .drawing svg").first.locator("[tabindex]")
    marks.first.focus()
    report.keyboard.press("ArrowRight")
    said = report.evaluate("document.activeElement.getAttribute('aria-label')")
    assert said == marks.nth(1).get_attribute("aria-label")
    assert " to " in report.locator(".tip.on").inner_text()


def test_printed_page_is_light_and_leaves_out_what_paper_cannot_do(
    browser: Browser, pages: dict[str, Path]
) -> None:
    with opened(browser, pages["comparison"], 1280, "dark") as (page, _):
        page.emulate_media(media="print")
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == "rgb(251, 250, 248)"
        assert not page.locator("nav").is_visible()


def test_page_says_everything_without_its_script(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["report"], 1280, script=False) as (page, wrong):
        heads = page.locator("#flips thead th").all_text_contents()
        assert heads[3:] == ["Base", "Clean", "Attacked", "Defended: fine-tune"]
        assert page.locator("#flips tbody tr").first.is_visible()
        assert page.locator("#rounds .hit title").first.text_content() is not None
    assert wrong == []
