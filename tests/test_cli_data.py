"""``bench data`` with an engine of straw."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import STACK, Bench, make_dataset, refused
from messy import messy_folder, write
from test_twins import drawn

from bench.data import tasks
from bench.errors import WeightsError, WorkerError
from bench.probes import ProbeResult, ProbeSpec, Suspect
from bench.progress import Progress
from bench.records import Environment, Status
from bench.running import isolation
from bench.running.messages import Finished, Setup
from bench.zoo import weights

HERE = Environment(
    bench_version="1.0",
    python_version="3.12.0",
    platform="Linux x86_64",
    processor="a processor",
    cores=2,
    memory_gib=8.0,
    packages={},
)
SUSPECT = Suspect(
    picture="0" * 16, name="cat/0.png", split="train", label=1, neighbours_say=2, share=0.97
)


class Engine:
    """Finds one suspect at once."""

    stack = STACK
    environment = HERE
    asked: list[ProbeSpec] = []
    setups: list[Setup] = []
    status: Status = "ok"

    def __init__(self, setup: Setup, *_: object) -> None:
        self.setups.append(setup)

    def execute(self, spec: ProbeSpec, report: Callable[[Progress], None]) -> Finished:
        self.asked.append(spec)
        row = ProbeResult(
            key=spec.key,
            spec=spec,
            stack=STACK,
            status=self.status,
            reason="" if self.status == "ok" else "no room",
            started_at="2026-01-01T00:00:00+00:00",
            seconds=1.0,
            dataset=make_dataset(class_names=("<script>", "cat", "dog"), train=20, val=3),
            linear=(0.9,),
            suspects=(SUSPECT,),
        )
        return Finished(result=row)

    def wait(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Engine]:
    monkeypatch.setattr(isolation, "LocalEngine", Engine)
    monkeypatch.setattr(weights, "locate", lambda *_: tmp_path / "weights.h5")
    for name in ("asked", "setups"):
        monkeypatch.setattr(Engine, name, [])
    monkeypatch.setattr(Engine, "status", "ok")
    return Engine


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return messy_folder(tmp_path / "mine")


def test_a_look_then_doubtful_labels(bench: Bench, mine: Path, engine: type[Engine]) -> None:
    answer = bench("data", mine, "--image-size", "64")
    assert answer.code == 0
    assert answer.out.startswith("mine: 23 pictures in 3 classes: ")
    assert "\n1. 1 picture is filed under several classes" in answer.out
    assert "[1/1] MobileNetV2 · mine · probe · " in answer.out
    assert answer.out.splitlines()[-1].split() == ["cat/0.png", "cat", "dog", "97%"]
    ((spec,), (setup,)) = engine.asked, engine.setups
    assert (spec.data.image_size, spec.data.train_examples) == (64, None)
    assert spec.data.dataset.folder == str(mine)
    assert spec.data.splits.train == 0.97
    assert setup.folder == Path.cwd()
    assert not setup.scratch.exists()  # nothing of it is left


def test_json_is_all_that_is_printed(bench: Bench, mine: Path, engine: type[Engine]) -> None:
    answer = bench("data", mine, "--image-size", "64", "--format", "json")
    assert answer.code == 0
    content = json.loads(answer.out)
    assert content["empty"] == ["bird"]
    assert content["probe"]["suspects"][0]["name"] == "cat/0.png"
    assert "· probe ·" in answer.err


def test_none_starts_nothing(bench: Bench, mine: Path, engine: type[Engine]) -> None:
    answer = bench("data", mine, "--image-size", "64", "--backbone", "none")
    assert (answer.code, answer.err, engine.setups) == (0, "", [])
    assert "probe" not in answer.out


def test_a_probe_that_fails_costs_only_itself(
    bench: Bench, mine: Path, engine: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "status", "out_of_memory")
    answer = bench("data", mine, "--image-size", "64")
    assert answer.code == 0
    assert answer.err == (
        "bench: note: no search for mislabelled pictures: out_of_memory: no room\n"
    )


def test_so_does_a_worker_that_does_not_start(
    bench: Bench, mine: Path, engine: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Engine:
        raise WorkerError("a worker process could not start: no Keras")

    monkeypatch.setattr(isolation, "LocalEngine", broken)
    answer = bench("data", mine, "--image-size", "64", "--format", "json")
    assert answer.code == 0
    assert json.loads(answer.out)["note"] == "a worker process could not start: no Keras"


def _nowhere(*_: object) -> Path:
    raise WeightsError("weights of it: nowhere")


def test_the_usual_backbone_without_weights_is_a_note(
    bench: Bench, mine: Path, engine: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "locate", _nowhere)
    answer = bench("data", mine, "--image-size", "64")
    assert (answer.code, engine.setups) == (0, [])
    assert "no search for mislabelled pictures: weights of it: nowhere" in answer.err


def test_one_asked_for_without_weights_is_refused(
    bench: Bench, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "locate", _nowhere)
    assert "weights of it: nowhere" in refused(bench("data", mine, "--backbone", "VGG16"))


def test_a_backbone_in_a_file(bench: Bench, mine: Path, engine: type[Engine]) -> None:
    words = ("--backbone", "own/small.keras", "--image-size", "64")
    said = refused(bench("data", mine, *words))
    assert "a file needs --preprocessing beside it: one of raw, minus_one_to_one" in said
    assert bench("data", mine, *words, "--preprocessing", "torch").code == 0
    (spec,) = engine.asked
    found = spec.backbone
    assert (found.name, found.file, found.preprocessing) == ("small", "own/small.keras", "torch")


def test_many_pictures_are_searched_in_part(
    bench: Bench, mine: Path, engine: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.cli.data.MOST", 10)
    bench("data", mine, "--image-size", "64")
    assert engine.asked[0].data.train_examples == 10


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("nowhere/at/all", "folder 'nowhere/at/all' does not exist: expected a folder of class"),
        ("digit", "did you mean digits?: expected a folder of class folders, a dataset of the"),
        ("", "dataset '': expected"),
    ],
)
def test_what_is_no_dataset_is_refused(
    bench: Bench, what: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_known_to_tfds", lambda: None)
    assert said in refused(bench("data", what, "--backbone", "none"))


def test_one_class_only_says_what_is_needed(bench: Bench, tmp_path: Path) -> None:
    write(tmp_path / "p/cat/1.png", drawn(0))
    said = refused(bench("data", tmp_path / "p", "--backbone", "none"))
    assert "has 1 class(es) (cat): expected at least two, each with readable pictures" in said


def test_a_folder_without_classes_is_refused(bench: Bench, tmp_path: Path) -> None:
    write(tmp_path / "p/1.png", drawn(0))
    said = refused(bench("data", tmp_path / "p", "--backbone", "none"))
    assert "no pictures in" in said
    assert "expected class/picture" in said


def test_an_unknown_backbone_is_refused(bench: Bench, mine: Path) -> None:
    assert "did you mean VGG19 or VGG16?" in refused(bench("data", mine, "--backbone", "VGG1"))
