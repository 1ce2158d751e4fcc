"""What ``bench choose`` answers, in words, tables, a picture, and a part of a report."""

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from choices import (
    HEAD,
    TOP,
    candidate,
    chosen,
    clear,
    cost,
    excluded,
    probe,
    specs,
    tie,
    untried,
)
from conftest import make_result
from test_page import read as parsed
from test_report import kept

from bench.analysis import choosing, evidence
from bench.analysis.choice import Choice, Step
from bench.analysis.evidence import Source
from bench.choices import FILE, Limits
from bench.probes import ProbeResult
from bench.records import TrialResult
from bench.reporting import choice_parts, choice_tables, choice_wording, choices
from bench.reporting.forms import FORMATS
from bench.reporting.page import page
from bench.reporting.page.content import Content
from bench.reporting.plots import choices as plotted
from bench.reporting.plots import gallery
from bench.reporting.plots.panel import Panel
from bench.reporting.report import build
from bench.running import store
from bench.settings import Settings

HOSTILE = ("<script>alert(1)</script>", "=cmd|'/C calc'!A0\x1b[31m\n# x", "[a](javascript:b)|`c`")

# ----------------------------------------------------------------------------------------- in words


def test_a_clear_pick_comes_first_with_its_numbers() -> None:
    first, sure, front, left, spent = choices.sentences(clear())
    assert first == (
        "Take EfficientNetLite1 with the top 20% of its layers unfrozen (top_fraction=0.2): "
        "84.2% on test (81.9 to 86.3); 8.0 ms a picture (90% of calls within 10.0); "
        "100 images/s (98 to 102); 1.00 GiB of memory; 2.27 M parameters."
    )
    assert sure == (
        "With a probability of 97% it is the best of 3 candidates, and with 99% it is within "
        "0.5 points of the best."
    )
    assert front.startswith(
        "For another balance of accuracy and cost, on the Pareto front: MobileNetV2 · head_only "
        "(about 79.0% (77.0 to 81.0), 3.0 ms, "
    )
    assert left == "Not tried: ResNet50 · head_only, the best with a probability of 1%."
    assert spent == ("Spent: 12 min 34 s in all, on 6 of 15 trials and 3 probes.")


def test_a_tie_names_the_other_and_what_would_tell() -> None:
    _, sure, ties, then, command, _ = choices.sentences(tie(), "bench choose digits --seeds 5")
    assert sure.endswith("of the best: not clear yet, which takes 95% of either.")
    assert ties == (
        "Not told from it, each with the probability that it is the best: "
        "EfficientNetLite1 · head_only (42%)."
    )
    assert then == (
        "To be surer: 2 more seeds of each of MobileNetV2 · top_fraction=0.2 and "
        "EfficientNetLite1 · head_only: about 12 minutes."
    )
    assert command.endswith("keeps what was measured: bench choose digits --seeds 5")
    assert "The same bench choose command goes on" in choices.sentences(tie())[4]


def test_steps_hold_seeds_that_nobody_planned_and_first_trials() -> None:
    done = candidate(seeds=5)
    beyond = tuple(s.model_copy(update={"seed": s.seed + 5}) for s in done.specs[:3])
    new = untried("ResNet50", best=0.2)
    found = chosen(done, new, clear=False, then=(Step(beyond, None), Step(new.specs[:1], 20.0)))
    assert (
        "To be surer: 3 more seeds of MobileNetV2 · head_only: nobody can tell yet how long that "
        "takes; then 1 seed of ResNet50 · head_only: about 20 seconds."
    ) in choices.sentences(found)


def test_what_is_left_untried_may_be_more_probable_than_the_pick() -> None:
    found = chosen(candidate(best=0.2), untried("A", best=0.5), untried("B", best=0.3), clear=False)
    assert (
        "Not tried: 2 candidates. The best is among them with a probability of 80%; most probable "
        "is A · head_only (50%, which is more than the pick has)."
    ) in choices.sentences(found)


def test_before_any_trial_the_probes_speak() -> None:
    left = [untried("A", best=0.4), untried("B", best=0.6)]
    first, then, _, spent = choices.sentences(chosen(*left, then=(Step(left[1].specs[:3], 300.0),)))
    assert first == (
        "There is no pick yet: no trial has finished. By the probes alone B · head_only is ahead: "
        "about 70.0% (68.0 to 72.0) on val, the best of 2 candidates with a probability of 60%."
    )
    assert then == "To get an answer: 3 seeds of B · head_only: about 5 minutes."
    assert "on 0 of 10 trials and 2 probes" in spent


def test_nothing_at_all_is_said_to_be_nothing() -> None:
    blank = candidate(expected=None, seeds=0, state="unknown", probe=None)
    assert choices.sentences(chosen(blank)) == [choices.NOTHING]


def test_one_candidate_is_compared_with_nothing() -> None:
    alone = choices.sentences(chosen(candidate(best=1.0, close=1.0)))
    assert alone[1] == "It is the only candidate, so nothing is compared."
    gone = chosen(candidate(), excluded("A"), limits=Limits(parameters=10_000_000))
    assert choices.sentences(gone)[1] == (
        "It is the only candidate within the limits (at most 10,000,000 parameters), so nothing is "
        "compared."
    )


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (
            Limits(latency=5),
            "takes 8.0 ms a picture (90% of calls within 10.0), where at most 5 ms are allowed",
        ),
        (Limits(latency=7.99), "takes 8 ms, where at most 7.99 ms are allowed"),
        (
            Limits(throughput=120),
            "does 100 images/s (98 to 102), where at least 120 images/s are asked for",
        ),
        (
            Limits(memory=2**29),
            "holds 1.00 GiB of memory, where at most 512 MiB are allowed",
        ),
        (
            Limits(parameters=2_270_793),
            "has 2,270,794 parameters, where at most 2,270,793 parameters are allowed",
        ),
        (Limits(latency=100), ""),
    ],
)
def test_who_breaks_a_limit_is_shown_beside_it(limits: Limits, said: str) -> None:
    gone = excluded("ResNet50", cost=cost("ResNet50"))
    found = chosen(candidate(), gone, limits=limits)
    assert choice_wording.broken_limits(gone, found) == said


def test_candidates_of_a_backbone_are_excluded_in_one_go() -> None:
    slow = cost("ResNet50", latency=50.0)
    gone = [excluded("ResNet50", freeze, cost=slow) for freeze in (HEAD, TOP)]
    broken = excluded("A", reason="its trial ended failed: no room.")
    found = choices.sentences(chosen(candidate(), *gone, broken, limits=Limits(latency=9)))
    assert (
        "Excluded: ResNet50 (2 candidates) takes 50.0 ms a picture (90% of calls within 62.5), "
        "where at most 9 ms are allowed; A · head_only: its trial ended failed: no room."
    ) in found


def test_with_all_excluded_there_is_no_pick() -> None:
    first, why, *_ = choices.sentences(chosen(excluded("A", reason="x"), excluded("B", reason="y")))
    assert first == "There is no pick: all 2 candidates are excluded."
    assert why == "Excluded: A · head_only: x; B · head_only: y."


def test_another_objective_says_what_it_costs_in_accuracy() -> None:
    fast = candidate("MobileNetV2", HEAD, 0.83, 0.9, 0.1, cost=cost("MobileNetV2", 3.0))
    best = candidate("ResNet50", TOP, 0.837, 0.1, 0.9, cost=cost("ResNet50", 9.0))
    _, sure, given_up, *_ = choices.sentences(chosen(fast, best, objective="latency", clear=False))
    assert sure == (
        "With a probability of 90% it is the one that answers soonest of those at most 1 point "
        "below the best accuracy, of 2 candidates, and with 10% it is within 0.5 points of the "
        "best: not clear yet, which takes 95% of the former."
    )
    assert given_up == (
        "The objective was latency: for it about 0.7 points of accuracy were given up, by val, "
        "against ResNet50 · top_fraction=0.2, which has 9.0 ms a picture (90% of calls within "
        "11.2)."
    )
    assert (
        "best: the probability that it is the one that answers soonest of those at most 1 point "
        "below the best accuracy, of all that are not excluded"
    ) in choice_tables.notes(chosen(fast, best, objective="latency"))
    nothing = choices.sentences(chosen(best, fast, objective="latency"))[2]
    assert nothing == "The objective was latency, and no accuracy was given up for it."


def test_doubts_are_sentences_and_near_limits_are_told() -> None:
    near = candidate(reason="one call in ten took longer than 9 ms")
    found = choices.sentences(chosen(near, doubts=("the pick ran once", "Old.")))
    assert found[-2:] == ["The pick ran once.", "Old."]
    assert ("In doubt, MobileNetV2 · head_only: one call in ten took longer than 9 ms.") in found


def test_numbers_are_as_exact_as_they_are() -> None:
    shares = [choice_wording.probability(p) for p in (0.0, 0.004, 0.01, 0.994, 0.999, 1.0)]
    assert shares == ["under 1%", "under 1%", "1%", "99%", "over 99%", "over 99%"]
    times = [choice_wording.about(s) for s in (1, 33, 70, 731, 5400, 9000)]
    assert times == [
        *("about 5 seconds", "about 35 seconds", "about a minute", "about 12 minutes"),
        *("about 1.5 hours", "about 2.5 hours"),
    ]


def test_candidates_that_share_a_label_are_told_apart() -> None:
    one = candidate()
    head = one.specs[0].head.model_copy(update={"name": "mlp"})
    other = replace(one, specs=tuple(s.model_copy(update={"head": head}) for s in one.specs))
    deeper = replace(
        one, specs=tuple(s.model_copy(update={"batch_norm": "affine"}) for s in one.specs)
    )
    name = choice_wording.namer([one, other])
    assert [name(one), name(other)] == [
        "MobileNetV2 · head_only · head linear",
        "MobileNetV2 · head_only · head mlp",
    ]
    pick = choices.sentences(chosen(one, other))[0]
    assert pick.startswith(
        "Take MobileNetV2 with its head alone trained (head_only · head linear): "
    )
    phase = one.specs[0].phase1
    assert phase is not None
    longer = phase.model_copy(update={"epochs": 9})
    alike = replace(one, specs=tuple(s.model_copy(update={"phase1": longer}) for s in one.specs))
    names = choice_wording.namer([one, deeper, alike])
    assert names(alike) == f"MobileNetV2 · head_only · trial {alike.specs[0].key[:12]}"


# -------------------------------------------------------------------------------------- in tables


def lines(choice: Choice) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(choice_tables.document(choice, "csv"))))


def test_lines_for_people_say_who_stands_how() -> None:
    two = tie()
    found = chosen(*two.candidates, untried("A"), excluded("B", reason="too large"), ties=two.ties)
    titles, cells = choice_tables.table(found)
    assert [line[1] for line in cells] == ["pick", "tie", "probe only", "excluded"]
    by_title = [dict(zip(titles, line, strict=True)) for line in cells]
    assert "latency ms" not in titles
    assert by_title[0]["seeds"] == "3 of 5"
    assert by_title[0]["believed %"] == "84.0"
    assert by_title[0]["95% of test"] == "81.9–86.3"
    assert by_title[0]["within 0.5 points"] == "91%"
    assert by_title[2]["test %"] is None
    assert by_title[3] | {"best": None, "reason": "too large"} == by_title[3]


def test_every_number_can_be_traced_to_its_rows() -> None:
    found = clear()
    for line, one in zip(lines(found), found.candidates, strict=True):
        assert line["trials"].split() == [row.key for row in one.rows]
        assert one.probe is not None
        assert line["probe"] == one.probe.key
        assert line["cost"] == (one.cost.key if one.cost else "")
    content = json.loads(choice_tables.document(found, "json"))
    assert content["candidates"][0]["trials"][0]["key"] == found.candidates[0].rows[0].key
    assert {p["probe"] for p in content["probes"]} == {line["probe"] for line in lines(found)}


def test_json_holds_the_answer_and_what_to_run() -> None:
    found = tie()
    strange = replace(found.candidates[1], probe=probe("A", logme=float("nan")))
    broken = replace(found, candidates=(found.candidates[0], strange), ties=(strange,))
    content = json.loads(choice_tables.document(broken, "json", "bench choose digits"))
    assert content["pick"] == "MobileNetV2 · top_fraction=0.2"
    assert content["ties"] == ["EfficientNetLite1 · head_only"]
    assert content["answer"] == choices.sentences(broken, "bench choose digits")
    assert content["candidates"][0]["probability_best"] == 0.55
    assert content["candidates"][0]["parameters"] == 2_270_794
    assert [p["logme"] for p in content["probes"]] == [0.4321, None]
    (step,) = content["next"]
    assert step["seconds"] == 731.0
    assert [t["seed"] for t in step["trials"]] == [3, 4, 3, 4]
    assert step["trials"][2]["candidate"] == "EfficientNetLite1 · head_only"
    assert "trials" not in content["question"]


def test_probes_stand_the_highest_first() -> None:
    stuck = probe("C", (), status="failed", reason="no room", knn=None, logme=None)
    titles, cells = choice_tables.probe_table([probe("A"), probe("B", (0.9, 0.9)), stuck])
    assert [line[0] for line in cells] == ["B", "A", "C"]
    assert dict(zip(titles, cells[1], strict=True))["linear probe, val %"] == "81.0"
    assert dict(zip(titles, cells[2], strict=True))["status"] == "failed: no room"


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_holds_every_candidate(form: str) -> None:
    text = choice_tables.document(clear(), form)
    assert all(name in text for name in ("EfficientNetLite1", "MobileNetV2", "ResNet50"))
    assert ("Take EfficientNetLite1" in text) == (form in ("console", "markdown"))


def foreign(text: str) -> Choice:
    """An answer that has this text wherever somebody may put some."""
    one = candidate(text, dataset=text, reason=text)
    return chosen(
        one,
        untried(text, TOP),
        excluded(f"{text}2", reason=text, probe=probe(text, status="failed", reason=text)),
        doubts=(text,),
        name=text,
        then=(Step(one.specs[3:], 10.0),),
        clear=False,
    )


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("form", [*FORMATS, "json"])
def test_foreign_text_is_inert_in_every_form(form: str, hostile: str) -> None:
    text = choice_tables.document(foreign(hostile), form, hostile)
    if form == "json":
        assert json.loads(text)["command"] == hostile
    elif form == "csv":
        assert not [
            cell
            for line in csv.reader(io.StringIO(text))
            for cell in line
            if cell.startswith(("=", "@", "+", "-"))
        ]
    else:
        assert all(line.isprintable() for line in text.splitlines())
    if form == "markdown":
        assert hostile not in text
        assert not re.search(r"<script|(?<!\n)\n# |\[a\]\(", text)
        table = [line for line in text.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in table[:5]}) == 1


# --------------------------------------------------------------------------------- in a report


def source(choice: Choice, folder: Path = Path("nowhere")) -> Source:
    """A folder with the rows of a choice."""
    rows = tuple(row for c in choice.candidates for row in c.rows)
    return Source("small", folder, rows, probes=tuple(choice_tables.probes_of(choice)))


def shown(choice: Choice) -> str:
    found = evidence.of([source(choice)])
    asked = [choice_parts.Asked(found.sources[0], choice)]
    return page.render(
        Content(
            "A report",
            found,
            choices=choice_parts.shown(asked, found),
            probes=choice_parts.shown_probes(found),
        )
    )


def test_the_page_links_candidates_to_the_lines_of_their_trials() -> None:
    choice = clear()
    found = parsed(shown(choice))
    titles = [e.text for e in found.all("h2")]
    assert titles[:3] == ["The choice", "Probes", "Trials"]
    names = {e.attributes["id"] for e in found.elements if "id" in e.attributes}
    links = {e.text: e.attributes["href"] for e in found.all("a") if "#choice" in e.inside}
    keys = [row.key[:12] for c in choice.candidates for row in c.rows]
    assert {links[key] for key in keys} == {"#line-1", "#line-2"}
    assert links["MobileNetV2 · head_only"] == "#line-2"
    assert "ResNet50 · head_only" not in links
    assert {link.removeprefix("#") for link in links.values()} <= names
    (picked,) = (e for e in found.all("tr") if e.attributes.get("class") == "pick")
    assert picked.text.split()[0] == "EfficientNetLite1"


@pytest.mark.parametrize("hostile", HOSTILE[:1])
def test_foreign_text_is_text_in_the_page(hostile: str) -> None:
    html = shown(foreign(hostile))
    found = parsed(html)
    assert hostile not in html
    assert len(found.all("script")) == 1
    heads = [e.text for e in found.all("th") if "#choice" in e.inside and "tbody" in e.inside]
    assert heads[0] == f"{hostile} · head_only"


def folder_of(choice: Choice, folder: Path) -> Path:
    """Its rows as a results folder, with a question."""
    found = source(choice)
    kept(folder, *found.rows)
    text = b"".join(map(store.line, found.probes))
    (folder / "stack" / store.PROBES).write_bytes(text)
    (folder / FILE).write_text("{}")
    return folder


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[Choice]:
    """What every folder with a question answers: the first of these."""
    found: list[Choice] = []

    def read(folder: Path) -> Choice | None:
        return found[0] if (folder / FILE).exists() else None

    monkeypatch.setattr(choosing, "read", read)
    return found


def made(folders: Sequence[Path], out: Path) -> dict[str, bytes]:
    build(folders, out, Settings(cache=out.parent / "cache"))
    return {f.relative_to(out).as_posix(): f.read_bytes() for f in out.rglob("*") if f.is_file()}


@pytest.fixture
def few_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the plot of choices: others take seconds."""
    monkeypatch.setattr(gallery, "for_report", lambda e: gallery.panels(e, ["choice"]))


@pytest.mark.usefixtures("few_plots")
def test_a_report_answers_with_the_choice_first(answered: list[Choice], tmp_path: Path) -> None:
    answered.append(clear())
    folder = folder_of(answered[0], tmp_path / "small")
    there = made([folder], tmp_path / "out")
    tables = {f"tables/{t}.{e}" for t in ("choice", "probes") for e in ("csv", "md", "tex")}
    assert tables | {"plots/choice-digits.png"} <= set(there)
    text = there["report.md"].decode()
    places = [
        text.index(words)
        for words in (
            *("## The choice for digits", "* Take EfficientNetLite1", choice_parts.BY_TEST),
            *("## digits", "## The choice\n", "## Probes\n", "## Trials\n"),
        )
    ]
    assert places == sorted(places)
    answers = [e.text for e in parsed(there["index.html"].decode()).all("h3") if e.inside]
    assert answers[:2] == ["The choice for digits", "digits"]
    table = csv.DictReader(io.StringIO(there["tables/choice.csv"].decode()))
    assert [line["state"] for line in table] == ["pick", "tried", "probe only"]
    assert made([folder], tmp_path / "again" / "out") == there
    assert not [n for n, content in there.items() if str(tmp_path).encode() in content]


@pytest.mark.usefixtures("few_plots")
def test_two_folders_stand_one_after_another(answered: list[Choice], tmp_path: Path) -> None:
    answered.append(clear())
    one = folder_of(answered[0], tmp_path / "one")
    two = folder_of(answered[0], tmp_path / "two")
    plain = kept(tmp_path / "plain", make_result())
    there = made([one, two, plain], tmp_path / "out")
    text = there["report.md"].decode()
    assert "## The choice for digits in one" in text
    assert "## The choice for digits in two" in text
    table = list(csv.DictReader(io.StringIO(there["tables/choice.csv"].decode())))
    assert [line["results"] for line in table] == ["one"] * 3 + ["two"] * 3
    assert "plots/choice-digits-2.png" in there


@pytest.mark.usefixtures("few_plots")
def test_a_folder_without_trials_answers_from_its_probes(
    answered: list[Choice], tmp_path: Path
) -> None:
    answered.append(chosen(untried("A"), untried("B", best=0.9)))
    folder = folder_of(answered[0], tmp_path / "small")
    (folder / "stack" / store.TRIALS).unlink()
    text = made([folder], tmp_path / "out")["report.md"].decode()
    assert "There is no pick yet" in text
    assert "Nothing was measured" not in text
    assert choice_parts.BY_TEST not in text


@pytest.mark.usefixtures("few_plots")
def test_a_question_that_cannot_be_read_is_a_problem_of_its_folder(tmp_path: Path) -> None:
    folder = kept(tmp_path / "small", make_result())
    (folder / FILE).write_text('{"name": 3}')
    there = made([folder], tmp_path / "out")
    text = there["report.md"].decode()
    assert f"* small/{FILE}: not a question" in text
    assert str(tmp_path) not in text
    assert "tables/choice.csv" not in there


def test_evidence_holds_the_probes(tmp_path: Path) -> None:
    folder = folder_of(clear(), tmp_path / "small")
    found = evidence.read([folder])
    assert [p.spec.backbone.name for p in found.probes] == [
        *("EfficientNetLite1", "MobileNetV2", "ResNet50"),
    ]
    assert all(isinstance(p, ProbeResult) for p in found.probes)
    assert all(isinstance(r, TrialResult) for r in found.rows)


# ----------------------------------------------------------------------------------- in a picture


def artists(panel: Panel, gid: str, theme: Any = "light") -> list[Any]:
    axes = panel.draw(theme).axes[0]
    return [a for a in axes.get_children() if a.get_gid() == gid]


def picture(*more: Any) -> Choice:
    return chosen(
        candidate("A", TOP, 0.8, 0.7), candidate("B", HEAD, 0.82, 0.2), untried("C"), *more
    )


def test_the_picture_has_every_candidate_the_excluded_last() -> None:
    gone = excluded("D", reason="too slow")
    blank = candidate("E", expected=None, seeds=0, state="unknown")
    panel = plotted.panel(picture(gone, blank))
    assert panel.name == "choice-digits"
    values = [a.get_xdata()[0] for a in artists(panel, "expected")]
    assert values == pytest.approx([82.0, 80.0, 70.0, 90.0])
    assert len(artists(panel, "test")) == 2
    colours = [a.get_color() for a in artists(panel, "believed")]
    assert len(set(colours)) == 3
    assert colours[0] == colours[2] != colours[1]
    axes = panel.draw("light").axes[0]
    notes = [t.get_text() for t in axes.texts]
    assert notes == ["20%", "70%", "1%", "excluded", "best"]
    assert [t.get_text() for t in axes.get_yticklabels()][1] == "A · top_fraction=0.2"
    assert panel.alt.startswith("Believed accuracy of the candidates for digits: A · top_fraction")
    assert panel.caption.endswith("Nothing is known yet of 1 more.")


def test_of_many_candidates_the_most_probable_are_drawn() -> None:
    many = [candidate(f"B{i}", expected=0.5 + i / 1000) for i in range(plotted.MOST + 5)]
    panel = plotted.panel(chosen(*many))
    assert len(artists(panel, "expected")) == plotted.MOST
    assert "Of 35 candidates the 30 most probable are drawn." in panel.caption


@pytest.mark.parametrize("hostile", HOSTILE)
def test_foreign_names_are_drawn_and_nothing_else(hostile: str) -> None:
    panel = plotted.panel(foreign(hostile))
    assert re.fullmatch(r"[a-z0-9-]+", panel.name)
    for theme in ("light", "dark"):
        drawn = gallery.svg(panel, theme)
        assert drawn.startswith(b"<svg")
        assert b"<script" not in drawn


def test_the_gallery_draws_choices_of_folders_that_hold_one(
    answered: list[Choice], tmp_path: Path
) -> None:
    answered.append(picture())
    folder = folder_of(answered[0], tmp_path / "small")
    (panel,) = gallery.panels(evidence.read([folder]), ["choice"])
    assert panel.title == "digits: which to take"
    (folder / FILE).unlink()
    assert list(gallery.panels(evidence.read([folder]), ["choice"])) == []
    assert specs("A")[0].backbone.name == "A"
