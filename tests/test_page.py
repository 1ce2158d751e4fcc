"""The page of a report, read as a parser reads it: what it holds, and what it must not hold."""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from importlib import resources
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import STACK, make_cost, make_dataset, make_phase, make_rate, make_result, make_spec

from bench import marks
from bench.analysis import details, evidence, naming
from bench.analysis.details import ClassDetail, Detail, Mistake, SeedDetail
from bench.analysis.evidence import Evidence, Source
from bench.analysis.stats import Interval
from bench.costs import CostResult
from bench.records import Freeze, Guard, TrialResult
from bench.reporting.page import page
from bench.reporting.page.content import Answer, Claims, Content, Plot
from bench.reporting.page.history import History
from bench.running.cases import of_trial

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
VOID = {"meta", "img", "input", "br", "path", "circle", "polyline"}


@dataclass
class Element:
    """A tag, what it says, and what it lies in: tags, and names of those that have one."""

    tag: str
    attributes: dict[str, str]
    inside: tuple[str, ...]
    text: str = ""


@dataclass
class Read(HTMLParser):
    """A page as a list of its elements; text is of an element and all that it holds."""

    elements: list[Element] = field(default_factory=list)
    _open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        around = (x for e in self._open for x in (e.tag, f"#{e.attributes.get('id', '')}"))
        element = Element(tag, found, tuple(around))
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        while self._open and self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, *tags: str) -> list[Element]:
        return [e for e in self.elements if e.tag in tags]


def read(html: str) -> Read:
    found = Read()
    found.feed(html)
    return found


def content(
    rows: Sequence[TrialResult], costs: Sequence[CostResult] = (), **changes: object
) -> Content:
    """A report of these rows with everything in it; their folder is not there."""
    source = Source("small", Path("results/nowhere"), tuple(rows), tuple(costs))
    found = evidence.of([source])
    parts = tuple(details.detail(source, line) for line in found.lines)
    plain = Content("A report", found, ("small",), details=parts, command="bench report small")
    return replace(plain, **changes)  # type: ignore[arg-type]


def trial(right: Sequence[bool] = (True,) * 90 + (False,) * 10, **changes: object) -> TrialResult:
    """A row whose answers are known."""
    right = np.array(right)
    known = {
        "dataset": make_dataset(test=len(right)),
        "test_correct": marks.packed(right),
        "test_accuracy": float(right.mean()),
    }
    return make_result(**{"spec": make_spec(), **known, **changes})


def strategies(count: int) -> list[TrialResult]:
    """So many trials, each with another freeze strategy, and two seeds."""
    return [
        trial(spec=make_spec(Freeze(strategy="top_blocks", amount=n + 1), seed=seed))
        for n in range(count)
        for seed in (0, 1)
    ]


def with_predictions(found: Detail, names: Sequence[str]) -> Detail:
    """As if the store had kept them: every class but the first is taken for the first once."""
    counts = np.diag(np.full(len(names), 9))
    counts[1:, 0] = 1
    classes = tuple(
        ClassDetail(n, 10, 0.9, Interval(0.6, 0.98, 0.95), (names[0], 0.1)) for n in names
    )
    mistakes = (Mistake("a" * 16, names[1], names[0], 0.934, 2, 2),)
    return replace(
        found,
        **{"class_names": tuple(names), "confusion": counts},
        **{"classes": classes, "mistakes": mistakes},
    )


@pytest.fixture(scope="module")
def full() -> str:
    """A page with something in each of its parts."""
    rows = strategies(3)
    spec = make_spec(Freeze(strategy="top_blocks", amount=9))
    rows.append(
        make_result(spec, status="failed", reason="no such layer", test_accuracy=None, phase2=None)
    )
    caveat = make_dataset(test=100, caveats=("Its pictures are easy.",))
    rows = [r.model_copy(update={"dataset": caveat}) if r.dataset else r for r in rows]
    costs = [
        make_cost(case, device=make_rate(100.0, 40.0, 180.0)) for case in of_trial(rows[0].spec)
    ]
    plain = content(rows, costs)
    classes = ("rose", "tulip", "daisy")
    thumbnail = b"\xff\xd8 a picture"
    return page.render(
        replace(
            plain,
            answers=(Answer("digits", ("This one is the best.", "It is slow.")),),
            claims=Claims(
                ("claim", "said", "found"), (("more is better", "90%", None),), ("Old.",)
            ),
            plots=(Plot("a", "A plot", "a line that rises", "Of all.", b"<svg/>", b"<svg></svg>"),),
            details=(with_predictions(plain.details[0], classes), *plain.details[1:]),
            thumbnails={"a" * 16: thumbnail},
        )
    )


def test_headings_tell_the_outline(full: str) -> None:
    levels = [int(e.tag[1]) for e in read(full).all("h1", "h2", "h3", "h4", "h5")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    titles = [e.text for e in read(full).all("h2")]
    assert titles == [
        *("The answer", "Published claims", "Trials", "Plots", "Costs", "Details", "Notes"),
        *("Environments", "How to reproduce"),
    ]


def test_tables_and_pictures_can_be_read_aloud(full: str) -> None:
    found = read(full)
    assert {e.attributes.get("scope") for e in found.all("th")} == {"col", "row"}
    assert all(e.attributes["alt"] for e in found.all("img"))
    for drawing in found.all("svg"):
        shown = drawing.attributes.get("aria-label") and drawing.attributes["role"] == "img"
        assert shown or drawing.attributes["aria-hidden"] == "true"
    for box in (e for e in found.elements if "scroll" in e.attributes.get("class", "").split()):
        assert box.attributes["tabindex"] == "0"
        assert box.attributes["role"] == "region"
        assert {"aria-label", "aria-labelledby"} & set(box.attributes)
    assert found.all("html")[0].attributes["lang"] == "en"


def test_nothing_is_loaded_and_nothing_else_may_run(full: str) -> None:
    found = read(full)
    for element in found.elements:
        given = element.attributes
        assert not [name for name in given if name.startswith("on") or name == "style"]
        for name in ("src", "href", "srcset", "action", "data"):
            assert given.get(name, "#").startswith(("#", "data:image/"))
    (policy,) = (
        e.attributes["content"]
        for e in found.all("meta")
        if e.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (own,) = found.all(tag)
        digest = base64.b64encode(hashlib.sha256(own.text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_links_lead_somewhere_and_names_are_given_once(full: str) -> None:
    found = read(full)
    names = [e.attributes["id"] for e in found.elements if "id" in e.attributes]
    assert len(set(names)) == len(names)
    links = {e.attributes["href"] for e in found.all("a")}
    assert {link.removeprefix("#") for link in links} <= set(names)
    assert "#trial-1" in links


@pytest.mark.parametrize("hostile", [SCRIPT, IMAGE])
def test_foreign_text_is_text(hostile: str) -> None:
    row = trial(
        spec=make_spec(dataset=hostile),
        dataset=make_dataset(test=100, class_names=("a", hostile), caveats=(hostile,)),
    )
    failed = make_result(make_spec(dataset=hostile, seed=3), status="failed", reason=hostile)
    plain = content([row, failed], [make_cost(status="failed", reason=hostile)])
    html = page.render(
        replace(
            plain,
            title=hostile,
            about=(hostile,),
            answers=(Answer(hostile, (hostile,)),),
            claims=Claims((hostile,), ((hostile,),), (hostile,)),
            plots=(Plot("a", hostile, hostile, hostile, b"<svg/>", b"<svg/>"),),
            details=tuple(with_predictions(d, (hostile, "a")) for d in plain.details),
            command=hostile,
        )
    )
    found = read(html)
    assert hostile not in html
    assert len(found.all("script")) == 1
    assert all(e.attributes["src"].startswith("data:") for e in found.all("img"))
    assert found.all("h1")[0].text == hostile
    option = next(e for e in found.all("td") if e.text == hostile)
    assert "#trials" in option.inside


def cells(html: str, title: str) -> Iterator[str]:
    """Of a column of the main table."""
    found = read(html)
    heads = [e.text for e in found.all("th") if e.attributes.get("data-key")]
    body = [e for e in found.all("th", "td") if {"#trials", "tbody"} <= set(e.inside)]
    return (e.text.strip() for e in body[heads.index(title) :: len(heads)])


def test_lines_of_the_main_table(full: str) -> None:
    assert list(cells(full, "backbone")) == ["MobileNetV2"] * 4
    assert list(cells(full, "freeze")) == [f"top_blocks={n}" for n in (1, 2, 3, 9)]
    assert [t.split()[0] for t in cells(full, "test %")] == ["90.0"] * 3 + ["1"]
    assert list(cells(full, "best")) == ["tie"] * 3 + [""]
    assert [t[:4] for t in cells(full, "inference img/s")] == ["100*"] * 4


def test_values_that_lines_are_sorted_by() -> None:
    worse = trial((True,) * 5 + (False,) * 95, spec=make_spec(Freeze(strategy="all")))
    html = page.render(content([trial((True,) * 87 + (False,) * 13), worse]))
    numbers = re.findall(r'<td class="n top" data-value="([\d.]+)">\s*(?:87\.0|5\.0)<', html)
    assert numbers == ["0.87", "0.05"]


def test_a_failed_trial_says_why_in_its_line(full: str) -> None:
    assert [t.split("\n")[0] for t in cells(full, "status")][-1] == "1 failed no such layer"


def test_marks_stand_beside_the_numbers_that_they_touch(full: str) -> None:
    assert next(cells(full, "test %")).endswith("1")
    (note,) = (e for e in read(full).all("li") if e.attributes.get("id") == "note-1")
    assert note.text == "digits: Its pictures are easy."
    assert next(cells(full, "train img/s")).endswith("*?")
    assert "in doubt" in read(full).all("main")[0].text


def test_random_weights_are_called_meaningless_beside_their_accuracy() -> None:
    spec = make_spec()
    random = spec.model_copy(
        update={"backbone": spec.backbone.model_copy(update={"weights": "random"})}
    )
    html = page.render(content([trial(spec=random)]))
    assert next(cells(html, "test %")).startswith("meaningless")
    assert "random weights: accuracy is meaningless" in read(html).all("ol")[0].text


def test_a_failed_guard_is_told_beside_the_accuracy() -> None:
    guard = Guard(name="frozen_weights", passed=False, evidence="one moved")
    html = page.render(content([trial(guards=(guard,))]))
    assert next(cells(html, "test %")).startswith("guard failed")
    assert next(cells(html, "guards")) == "FAIL: frozen_weights"


def test_columns_that_nothing_is_known_of_are_left_out() -> None:
    html = page.render(content([trial()]))
    heads = [e.text for e in read(html).all("th") if e.attributes.get("data-key")]
    assert "latency ms" not in heads
    assert "best" not in heads
    assert {"backbone", "test %", "95%", "guards"} <= set(heads)


def test_an_empty_store() -> None:
    found = read(page.render(content([])))
    assert found.all("h1")[0].text == "A report"
    assert "No trial has been measured here yet." in found.all("main")[0].text
    assert not found.all("table", "form", "details")


def test_costs_without_trials() -> None:
    html = page.render(content([], [make_cost()]))
    found = read(html)
    assert len(found.all("table")) == 1
    assert "inference" in found.all("table")[0].text


def test_nothing_but_failures() -> None:
    rows = [
        make_result(make_spec(seed=n), status="out_of_memory", reason="2 GiB short", phase1=None)
        for n in (0, 1)
    ]
    html = page.render(content([r.model_copy(update={"test_accuracy": None}) for r in rows]))
    assert next(cells(html, "status")).startswith("2 out_of_memory")
    assert next(cells(html, "test %")) == "2 out_of_memory"
    assert html.count("2 GiB short") >= 2


def test_trials_without_a_part_of_their_own_are_counted() -> None:
    plain = content(strategies(4))
    html = page.render(replace(plain, details=plain.details[:1]))
    found = read(html)
    assert "Shown are 1 of 4 trials" in found.all("main")[0].text
    assert [e.attributes["id"] for e in found.all("details") if "id" in e.attributes] == ["trial-1"]
    assert {e.attributes["href"] for e in found.all("a") if "trial" in e.attributes["href"]} == {
        "#trial-1"
    }


def test_a_line_takes_little_room() -> None:
    plain = replace(content(strategies(2)), details=())
    few = len(page.render(plain))
    more = len(page.render(replace(content(strategies(102)), details=())))
    assert (more - few) / 100 < 3_000


def test_equal_results_give_equal_pages() -> None:
    rows = strategies(2)
    assert page.render(content(rows)) == page.render(content(rows))


def test_a_matrix_is_shown_whole_or_in_its_largest_numbers() -> None:
    plain = content([trial()])
    few, many = ([f"class {n}" for n in range(count)] for count in (20, 21))
    whole = read(page.render(replace(plain, details=(with_predictions(plain.details[0], few),))))
    assert sum(e.attributes.get("class", "").startswith("n r8") for e in whole.all("td")) == 20
    part = read(page.render(replace(plain, details=(with_predictions(plain.details[0], many),))))
    (largest,) = (e for e in part.all("ol") if e.attributes.get("class") == "confusions")
    assert largest.text.count("taken for class 0: 1 picture, 10.0% of its class") == 10
    assert "The worst 20 of 21 classes." in part.all("main")[0].text


def test_mistakes_show_their_picture_and_say_what_it_is(full: str) -> None:
    (picture,) = (e for e in read(full).all("img") if "taken" in e.attributes["alt"])
    assert picture.attributes["alt"] == "tulip taken for rose, 93%"
    assert picture.attributes["src"].startswith("data:image/jpeg;base64,")


def test_the_command_of_each_trial_can_be_copied(full: str) -> None:
    commands = [e.text for e in read(full).all("code") if "pre" in e.inside]
    assert len(commands) == 5
    assert all(c.startswith("bench run ") for c in commands[:4])
    assert commands[4] == "bench report small"


def test_overview(full: str) -> None:
    paragraphs = {e.attributes.get("class"): e.text for e in read(full).all("p")}
    assert paragraphs["overview"] == (
        "tensorflow 2.21.0, Keras 3.15.1, cpu, float32 · 4 trials in 7 rows · "
        "3 measurements of cost"
    )
    assert paragraphs["about"] == "small"


# --------------------------------------------------------------------------------------- history


def seed(number: int, first: Sequence[float], second: Sequence[float] = ()) -> SeedDetail:
    """With these val accuracies in its phases."""
    rows = [make_phase(a, first_epoch=i).epochs[0] for i, a in enumerate([*first, *second])]
    row = make_result(make_spec(seed=number))
    (found,) = content([row]).details[0].seeds
    return replace(
        found,
        phase1_epochs=tuple(rows[: len(first)]),
        phase2_epochs=tuple(rows[len(first) :]),
    )


def test_history_marks_where_fine_tuning_starts() -> None:
    history = History([seed(0, (0.5, 0.6), (0.7, 0.8))])
    (curve,) = history.curves
    assert history.boundary is not None
    assert curve.points[1][0] < history.boundary < curve.points[2][0]
    assert [label for _, label in history.ticks] == ["1", "2", "3", "4"]
    heights = [y for _, y in curve.points]
    assert heights == sorted(heights, reverse=True)
    assert "60.0% at the end of phase 1, 80.0% at the end of phase 2" in history.summary
    assert History([seed(0, (0.5,))]).boundary is None


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_history_of_one_value_stays_inside_its_frame(value: float) -> None:
    history = History([seed(0, (value,))])
    assert len(history.grid) == 2
    (((_, y),),) = [curve.points for curve in history.curves]
    assert history.top <= y <= history.bottom


def test_history_without_numbers_is_none() -> None:
    assert not History([seed(0, ())])
    assert not History([seed(0, (float("nan"),))])


def test_labels_of_seeds_do_not_lie_over_each_other() -> None:
    history = History([seed(n, (0.5, 0.9)) for n in range(4)])
    places = [c.label_y for c in history.curves]
    assert all(b - a >= 12 for a, b in pairwise(places))


# ---------------------------------------------------------------------------------------- colours


def luminance(colour: str) -> float:
    """Relative, as the Web Content Accessibility Guidelines define it."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


PAIRS = [
    *(("ink", ground) for ground in ("paper", "wash", "flag")),
    *(("soft", ground) for ground in ("paper", "wash", "flag")),
    *(("link", ground) for ground in ("paper", "wash", "flag")),
    *(("bad", ground) for ground in ("paper", "wash", "flag")),
    *(("pale", f"{kind}{n}") for kind in "rw" for n in range(1, 6)),
    *(("deep", f"{kind}{n}") for kind in "rw" for n in range(6, 9)),
]


@pytest.mark.parametrize("theme", [0, 1])
def test_text_stands_out_from_its_ground(theme: int) -> None:
    folder = resources.files("bench.reporting.page") / "templates"
    style = (folder / "page.css").read_text(encoding="utf-8")
    found = re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\);", style)
    colours = {name: (light, dark)[theme] for name, light, dark in found}
    low = {}
    for text, ground in PAIRS:
        bright, dim = sorted(map(luminance, (colours[text], colours[ground])), reverse=True)
        ratio = (bright + 0.05) / (dim + 0.05)
        if ratio < 4.5:
            low[text, ground] = round(ratio, 2)
    assert not low


def test_evidence_of_several_folders_says_which() -> None:
    found: Evidence = evidence.of(
        [Source(name, Path(name), (trial(),)) for name in ("one", "other")]
    )
    html = page.render(Content("Two", found))
    assert list(cells(html, "results")) == ["one", "other"]


def test_stacks_are_called_by_what_they_differ_in() -> None:
    other = STACK.model_copy(update={"backend": "jax", "backend_version": "0.10.2"})
    assert naming.stacks([STACK]) == {STACK.id: "tensorflow 2.21.0, Keras 3.15.1, cpu, float32"}
    assert naming.stacks([STACK, other, STACK]) == {
        STACK.id: "tensorflow 2.21.0",
        other.id: "jax 0.10.2",
    }
    html = page.render(content([trial(), trial(stack=other)]))
    assert list(cells(html, "stack")) == ["tensorflow 2.21.0", "jax 0.10.2"]
