"""A look in words: for a terminal, a document, a program."""

import json

import pytest
from conftest import STACK, make_dataset

from bench.data.files import Files
from bench.data.overview import ClassCount, Look, Picture
from bench.probes import ProbeResult, ProbeSpec, Suspect
from bench.records import Backbone, Data, Dataset, Phase
from bench.reporting import data_look
from bench.zoo.heads import HEADS

PAIR = (Picture("cat/1.png", "cat", "train"), Picture("dog/2.png", "dog", "test"))
LOOK = Look(
    dataset="pets",
    image_size=160,
    pictures=1200,
    classes=(ClassCount("cat", 300, 60, 40), ClassCount("dog", 600, 120, 80)),
    official=("train", "test"),
    two_classes=(PAIR,),
    files=Files(1200, (("JPEG", 1199), ("PNG", 1)), (), (90, 300, 4000), 3, 0, 0),
    caveats=("Dogs are easy.",),
    warnings=("a picture is filed twice", "val is small"),
)


def probed(suspects: tuple[Suspect, ...]) -> ProbeResult:
    spec = ProbeSpec(
        backbone=Backbone(name="MobileNetV2"),
        data=Data(dataset=Dataset(name="pets")),
        head=HEADS["linear"],
        phase1=Phase(epochs=1, learning_rate=1e-3),
    )
    return ProbeResult(
        key=spec.key,
        spec=spec,
        stack=STACK,
        status="ok",
        started_at="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        dataset=make_dataset(class_names=("cat", "dog"), train=900, val=180),
        linear=(0.9,),
        knn=0.8,
        suspects=suspects,
    )


def suspect(number: int = 1, name: str = "cat/{}.png") -> Suspect:
    return Suspect(
        picture=f"{number:016x}",
        name=name.format(number),
        split="train",
        label=0,
        neighbours_say=1,
        share=0.975,
    )


def test_the_terminal_gets_a_screenful() -> None:
    assert data_look.render(LOOK).splitlines() == [
        "pets: 1,200 pictures in 2 classes: 900 train, 180 val, 120 test (test as given)",
        "files: 1,199 JPEG, 1 PNG; shorter side 90 to 4000 pixels, median 300",
        "",
        "class    train    val    test    share",
        "-------  -------  -----  ------  -------",
        "dog      600      120    80      66.7%",
        "cat      300      60     40      33.3%",
        "",
        "Always answering the most frequent class is right in 66.7% of test; "
        "the largest class has 2.0 times the pictures of the smallest.",
        "Dogs are easy.",
        "",
        "What to see to, the worst first:",
        "1. a picture is filed twice.",
        "2. val is small.",
    ]


def test_nothing_wrong_is_said_too() -> None:
    fine = Look("pets", 160, 1200, LOOK.classes)
    assert "(split by Bench)" in data_look.render(fine)
    assert data_look.render(fine).endswith("\n\nNothing is wrong that can be seen without a model.")


def test_of_many_classes_the_largest_and_the_smallest_are_shown() -> None:
    classes = tuple(ClassCount(f"c{i:03}", i, 1, 1) for i in range(120))
    lines = data_look.render(Look("dogs", 160, 9999, classes)).splitlines()
    shown = [line.split()[0] for line in lines if line.startswith(("c1", "c0", "..."))]
    assert shown == [
        *(f"c{i:03}" for i in range(119, 113, -1)),
        "...",
        *(f"c{i:03}" for i in range(5, -1, -1)),
    ]
    assert any(line.startswith("... 108 more") for line in lines)


@pytest.mark.parametrize("form", ["console", "markdown"])
def test_names_from_outside_mean_nothing(form: str) -> None:
    name = "<script>\x1b[31m|a\nb"
    classes = (ClassCount(name, 1, 1, 1), ClassCount("b", 1, 1, 1))
    look = Look(name, 160, 6, classes, warnings=(f"fewer of {name}",))
    text = data_look.render(look, form)
    assert "\x1b" not in text
    if form == "markdown":
        lines = [line for line in text.splitlines() if not line.startswith("|")]
        assert "<script>" not in "\n".join(lines)
    suspects = data_look.render_suspects(probed((suspect(name=f"{name}.png"),)), form)
    assert "\x1b" not in suspects


def test_suspects_by_name() -> None:
    lines = data_look.render_suspects(probed((suspect(7),))).splitlines()
    assert lines[0].startswith(
        "Among 1,080 pictures, as MobileNetV2 sees them, 1 picture is surrounded by pictures of "
    )
    assert lines[-1].split() == ["cat/7.png", "cat", "dog", "98%"]


def test_many_suspects_are_cut() -> None:
    text = data_look.render_suspects(probed(tuple(map(suspect, range(25)))))
    assert "25 pictures are surrounded" in text
    assert text.count(".png") == data_look.SUSPECTS_SHOWN == 20
    assert text.endswith("\nand 5 more: bench data --format json lists them all")


def test_no_suspects() -> None:
    text = data_look.render_suspects(probed(()))
    assert text.endswith(
        "as MobileNetV2 sees them, none is surrounded by pictures of another class."
    )


def test_a_program_gets_everything() -> None:
    content = json.loads(data_look.as_json(LOOK, probed(tuple(map(suspect, range(25))))))
    assert content["dataset"] == "pets"
    assert content["classes"][0] == {"name": "cat", "train": 300, "val": 60, "test": 40}
    assert content["two_classes"][0][1] == {
        "name": "dog/2.png",
        "class_name": "dog",
        "split": "test",
    }
    assert content["files"]["formats"] == [["JPEG", 1199], ["PNG", 1]]
    assert content["warnings"] == list(LOOK.warnings)
    assert (content["balance"], content["note"]) == (2.0, "")
    assert len(content["probe"]["suspects"]) == 25
    assert content["probe"]["suspects"][0] == {
        "name": "cat/0.png",
        "split": "train",
        "picture": f"{0:016x}",
        "share": 0.975,
        "class_name": "cat",
        "looks_like": "dog",
    }


def test_a_program_is_told_why_there_was_no_search() -> None:
    content = json.loads(data_look.as_json(LOOK, None, "no weights"))
    assert (content["probe"], content["note"]) == (None, "no weights")
