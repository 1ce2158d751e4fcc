"""The page of a report as a browser shows it: from disk, offline, by mouse, keyboard and voice.

Skipped where there is no Chromium or no Playwright. ``CHROMIUM`` names a browser that is not on
the PATH.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, make_dataset, make_result, make_spec

from bench.analysis import details, evidence
from bench.analysis.evidence import Source
from bench.records import Freeze
from bench.reporting.page import page as pages
from bench.reporting.page.content import Answer, Content, Plot

api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect, Browser, Page = api.expect, api.Browser, api.Page

pytestmark = pytest.mark.browser

RESULTS = ROOT / "results" / "reference" / "real_small"
CHROMIUM = (
    os.environ.get("CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>')
SQUARE = b'<svg xmlns="http://www.w3.org/2000/svg" width="900" height="500" viewBox="0 0 900 500"/>'
MANY = 250

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH, and CHROMIUM does not name one")
    with api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield started
        started.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pages to look at."""
    folder = tmp_path_factory.mktemp("site")
    found = evidence.read([RESULTS])
    parts = tuple(details.detail(found.sources[0], line) for line in found.lines[:9])
    drawn = [
        Plot(f"p{i}", f"Plot {i}", "a square", "Of nothing.", SQUARE, SQUARE) for i in range(20)
    ]
    real = Content(
        "Real pictures", found, answers=(Answer("tf_flowers", ("This is best.",)),),
        plots=tuple(drawn), details=parts, command="bench report real_small",
    )  # fmt: skip
    written = {"index": real, "hostile": hostile(), "many": many()}
    for name, content in written.items():
        (folder / f"{name}.html").write_text(pages.render(content), encoding="utf-8")
    return folder


def hostile() -> Content:
    """Names that would run if any of them were taken for markup."""
    script, image = HOSTILE
    used = make_dataset(class_names=HOSTILE, caveats=(image,))
    rows = [
        make_result(make_spec(dataset=script), dataset=used),
        make_result(make_spec(dataset=image), status="failed", reason=script),
    ]
    found = evidence.of([Source(image, Path("nowhere"), tuple(rows))])
    parts = tuple(details.detail(found.sources[0], line) for line in found.lines)
    return Content(script, found, details=parts, command=image)


def many() -> Content:
    """More lines than a browser gets at once; the first one is the worst."""
    rows = [
        make_result(make_spec(Freeze(strategy="top_blocks", amount=n)), test_accuracy=n / 1000)
        for n in range(MANY)
    ]
    return Content("Many", evidence.of([Source("many", Path("nowhere"), tuple(rows))]))


@pytest.fixture
def visit(browser: Browser, site: Path) -> Iterator[Visit]:
    """Open a page of the site; what it does wrong behind the scenes fails the test in the end."""
    wrong: list[str] = []
    contexts = []

    def opened(name: str = "index", after: str = "", **options: Any) -> Page:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = browser.new_context(offline=True, reduced_motion="reduce", **options)
        contexts.append(context)
        address = (site / f"{name}.html").as_uri()

        def asked(request: Any) -> None:
            if request.url.split("#")[0] != address and not request.url.startswith("data:"):
                wrong.append(f"asked for {request.url}")

        context.on("request", asked)
        view = context.new_page()
        view.on("console", lambda said: wrong.append(f"{said.type}: {said.text}"))
        view.on("pageerror", lambda error: wrong.append(str(error)))
        view.on(
            "dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss())
        )
        view.goto(address + after)
        return view

    yield opened
    for context in contexts:
        context.close()
    assert not wrong


def place(view: Page, title: str) -> int:
    """Of a column, from 1."""
    heads = view.locator("#trials thead th").all_inner_texts()
    return [h.strip() for h in heads].index(title) + 1


def accuracies(view: Page) -> list[float]:
    """Of the lines shown, from the top."""
    cells = view.locator(f"#trials tbody tr > :nth-child({place(view, 'test %')})")
    return [float(text.split()[0]) for text in cells.all_inner_texts()]


def lines(view: Page) -> int:
    return view.locator("#trials tbody tr").count()


def test_sorting_by_test_accuracy_both_ways(visit: Visit) -> None:
    view = visit()
    before = accuracies(view)
    head = view.get_by_role("columnheader", name="test %")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert accuracies(view) == sorted(before, reverse=True) != before
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert accuracies(view) == sorted(before)
    assert view.locator("th[aria-sort=ascending], th[aria-sort=descending]").count() == 1


def test_empty_cells_come_last_both_ways(visit: Visit) -> None:
    view = visit()
    column = place(view, "val % phase 1")
    for _ in range(2):
        view.get_by_role("columnheader", name="val % phase 1").get_by_role("button").click()
        texts = view.locator(f"#trials tbody tr > :nth-child({column})").all_inner_texts()
        assert [t for t in texts if t == "–"] == texts[-6:]


def test_sorting_by_keyboard_alone(visit: Visit) -> None:
    view = visit()
    view.keyboard.press("Tab")
    assert view.evaluate("document.activeElement.className") == "skip"
    view.get_by_role("button", name="Reset").focus()
    for _ in range(20):
        if view.evaluate("document.activeElement.parentElement.dataset.key") == "test-pc":
            break
        view.keyboard.press("Tab")
    before = accuracies(view)
    view.keyboard.press("Enter")
    assert accuracies(view) == sorted(before, reverse=True)
    focus = "getComputedStyle(document.activeElement).outlineStyle"
    assert view.evaluate(focus) == "solid"


def test_filters_and_the_link_that_keeps_them(visit: Visit) -> None:
    view = visit()
    count = view.get_by_role("status")
    assert count.inner_text() == "24 of 24 trials"
    view.get_by_role("searchbox", name="Filter").fill("flowers mobilenet")
    view.wait_for_url(re.compile("#.*words="))
    assert count.inner_text() == "4 of 24 trials"
    view.get_by_role("combobox", name="Freeze").select_option("scratch")
    view.wait_for_url(re.compile("#.*freeze="))
    assert count.inner_text() == "1 of 24 trials"
    assert lines(view) == 1
    shared = visit(after="#" + view.url.split("#")[1])
    assert shared.get_by_role("status").inner_text() == "1 of 24 trials"
    assert shared.get_by_role("combobox", name="Freeze").input_value() == "scratch"
    view.get_by_role("button", name="Reset").click()
    view.wait_for_url(re.compile("html$"))
    assert lines(view) == 24


def test_best_and_ties_only_in_the_order_asked_for(visit: Visit) -> None:
    view = visit(after="#top=1&sort=test-pc")
    assert lines(view) == view.locator("[data-standing]").count() == 18
    assert accuracies(view) == sorted(accuracies(view))


def test_a_filter_that_fits_nothing(visit: Visit) -> None:
    view = visit(after="#words=nonesuch&dataset=nonesuch&sort=nonesuch")
    assert view.get_by_role("status").inner_text() == "0 of 24 trials"


def test_a_link_opens_the_details(visit: Visit) -> None:
    view = visit()
    part = view.locator("#trial-5")
    assert part.get_attribute("open") is None
    view.locator("#line-5 a[href='#trial-5']").click()
    expect(view.locator("#trial-5[open]")).to_be_visible()
    assert part.get_by_role("heading", name="Confusion matrix").is_visible()
    assert part.get_by_role("img", name="Val accuracy by epoch").is_visible()
    expect(part.locator("summary").first).to_be_focused()
    box = part.bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 200  # where the reader looks, though twenty plots come before it
    part.get_by_role("link", name="Back to its line in the table").click()
    assert view.locator("#line-5").is_visible()
    assert visit(after="#trial-7").locator("#trial-7[open]").count() == 1


def test_a_command_is_copied_or_at_least_selected(visit: Visit) -> None:
    view = visit(after="#trial-1")
    button = view.locator("#trial-1 .copy")
    button.click()
    expect(button).to_have_text(re.compile("Copied|Selected"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling_and_all_text_can_be_read(
    visit: Visit, theme: str
) -> None:
    view = visit(viewport={"width": 390, "height": 800}, color_scheme=theme)
    view.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert view.evaluate("document.documentElement.scrollWidth") == 390
    assert view.evaluate(FAINT) == []


FAINT = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if ((parts(colour)[3] ?? 1) > 0) return colour;
    }
  };
  const faint = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!text || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const svg = element instanceof SVGElement;
    const [a, b] = [light(svg ? style.fill : style.color), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.add(`${element.tagName}.${element.getAttribute("class")} ${ratio}`);
  }
  return [...faint];
}"""
"""Text whose contrast with its ground is below 4.5, as it is really drawn."""


def test_the_theme_follows_the_system_or_the_button(visit: Visit) -> None:
    view = visit(color_scheme="light")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    button = view.get_by_role("button", name="Dark theme")
    assert view.evaluate(ground) == "rgb(255, 255, 255)"
    assert view.locator("#plot-p0 img.light").is_visible()
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert view.evaluate(ground) == "rgb(21, 24, 28)"
    assert button.get_attribute("aria-pressed") == "true"
    assert view.locator("#plot-p0 img.dark").is_visible()
    assert not view.locator("#plot-p0 img.light").is_visible()
    view.reload()
    assert view.evaluate(ground) == "rgb(21, 24, 28)"
    dark = visit(color_scheme="dark")
    assert dark.evaluate(ground) == "rgb(21, 24, 28)"
    assert dark.locator("#plot-p0 img.dark").is_visible()
    dark.get_by_role("button", name="Dark theme").click()
    assert dark.evaluate(ground) == "rgb(255, 255, 255)"
    assert dark.locator("#plot-p0 img.light").is_visible()


def test_print_is_light_and_has_no_controls(visit: Visit) -> None:
    view = visit(color_scheme="dark", after="#trial-2")
    view.emulate_media(media="print")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    assert view.evaluate(ground) == "rgb(255, 255, 255)"
    for hidden in (".contents", ".filters", "#trial-2 .copy", "#trial-3", "img.dark"):
        assert not view.locator(hidden).first.is_visible(), hidden
    for shown in ("#trials", "#trial-2 code", "img.light"):
        assert view.locator(shown).first.is_visible(), shown
    assert view.pdf().startswith(b"%PDF")


def test_a_screen_reader_finds_names_for_everything(visit: Visit) -> None:
    told = visit().locator("body").aria_snapshot()
    for said in (
        'navigation "Contents"',
        'heading "Real pictures" [level=1]',
        'searchbox "Filter"',
        'combobox "Dataset"',
        'checkbox "best and ties only"',
        "status: 24 of 24 trials",
        'region "Trials"',
        'columnheader "test %"',
        'rowheader "MobileNetV2"',
        'img "a square"',
    ):
        assert said in told
    assert not re.search(r"^\s*- (button|link|img|combobox|searchbox|region)(:.*)?$", told, re.M)


def test_without_scripts_everything_is_there(visit: Visit) -> None:
    view = visit(java_script_enabled=False)
    assert lines(view) == 24
    assert view.locator("#trials").is_visible()
    assert not view.locator(".filters, #theme").first.is_visible()
    view.locator("#trial-4 > summary").click()
    assert view.locator("#trial-4 code").first.is_visible()


def test_hostile_names_are_only_text(visit: Visit) -> None:
    view = visit("hostile")
    view.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert view.locator("h1").inner_text() == HOSTILE[0]
    assert view.locator("script").count() == 1
    assert view.locator("img[src=x]").count() == 0
    view.get_by_role("combobox", name="Dataset").select_option(HOSTILE[1])
    view.wait_for_url(re.compile("#.*dataset="))
    assert lines(view) == 1
    assert visit("hostile", view.url[view.url.index("#") :]).get_by_role("status").inner_text() == (
        "1 of 2 trials"
    )


def test_many_lines_come_in_parts(visit: Visit) -> None:
    view = visit("many")
    assert lines(view) == 200
    assert view.get_by_role("status").inner_text() == "250 of 250 trials, the first 200 shown"
    view.get_by_role("columnheader", name="test %").get_by_role("button").click()
    assert accuracies(view)[0] == 24.9
    view.get_by_role("button", name="Show all 250").click()
    assert lines(view) == MANY
    last = visit("many", f"#line-{MANY}")
    assert last.locator(f"#line-{MANY}").is_visible()


def test_an_empty_report_is_quiet(visit: Visit, site: Path) -> None:
    empty = replace(many(), evidence=evidence.of([]))
    (site / "empty.html").write_text(pages.render(empty), encoding="utf-8")
    view = visit("empty")
    assert view.get_by_text("No trial has been measured here yet.").is_visible()
