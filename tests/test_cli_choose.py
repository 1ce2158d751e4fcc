"""``bench choose`` from the command line, in a world whose truth is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Bench
from PIL import Image
from worlds import HEAD, TOP, World

from bench.choices import FILE
from bench.data import datasets, splits
from bench.data.images import open_images
from bench.records import Data
from bench.reporting import report
from bench.running import adaptive, store
from bench.settings import Settings

TRUTH = {
    ("MobileNetV2", HEAD): 0.90,
    ("MobileNetV2", TOP): 0.70,
    ("ResNet50", HEAD): 0.60,
    ("ResNet50", TOP): 0.55,
}
NAMES = ("--backbones", "MobileNetV2,ResNet50", "--freezes", "head_only,top_fraction=0.2")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of two classes."""
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{i}.png")
    return tmp_path / "pets"


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report.gallery, "for_report", lambda _: iter(()))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """In place of worker processes."""
    settings = Settings(cache=tmp_path / "cache")

    def fingerprint(data: Data) -> str:
        found = open_images(datasets.located(data.dataset, tmp_path), data.image_size, settings)
        return splits.split(found, data).fingerprint

    world = World(TRUTH, fingerprint=fingerprint)
    monkeypatch.setattr(adaptive, "Switch", lambda *_: world)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    return world


def test_a_folder_gets_a_look_an_answer_and_a_report(
    bench: Bench, pictures: Path, world: World, tmp_path: Path
) -> None:
    ran = bench("choose", str(pictures), *NAMES)
    assert ran.code == 0, ran.err
    assert "cats" in ran.out
    assert "Take MobileNetV2 with its head alone" in ran.out
    folder = tmp_path / "results" / "choose-pets"
    assert json.loads((folder / FILE).read_bytes())["name"] == "choose-pets"
    assert (folder / store.SUITE).read_text().startswith("# Every candidate")
    page = (tmp_path / "reports" / "choose-pets" / "index.html").read_text()
    assert "MobileNetV2" in page


def test_the_same_command_measures_nothing_twice(
    bench: Bench, pictures: Path, world: World
) -> None:
    bench("choose", str(pictures), *NAMES)
    before = list(world.executed)
    ran = bench("choose", str(pictures), *NAMES)
    assert world.executed == before
    assert "Take MobileNetV2" in ran.out


def test_when_the_pictures_have_changed_rows_of_before_do_not_count(
    bench: Bench, pictures: Path, world: World
) -> None:
    bench("choose", str(pictures), *NAMES)
    before = list(world.executed)
    Image.new("RGB", (24, 24), "red").save(pictures / "cats" / "new.png")
    ran = bench("choose", str(pictures), *NAMES)
    assert ran.code == 0
    again = [name for name in before if not name.startswith("cost")]
    assert world.executed[len(before) :] == again


def test_ctrl_c_answers_with_what_there_is_and_keeps_it(
    bench: Bench, pictures: Path, world: World, tmp_path: Path
) -> None:
    world.interrupt = "MobileNetV2 head_only 1"
    ran = bench("choose", str(pictures), *NAMES, "--sure", "0.999", "--margin", "0")
    assert ran.code == 130
    assert "Take MobileNetV2" in ran.out
    assert "bench report" in ran.out
    assert not (tmp_path / "reports").exists()
    world.interrupt = None
    again = bench("choose", str(pictures), *NAMES, "--sure", "0.999", "--margin", "0")
    assert again.code == 0
    assert len(world.executed) == len(set(world.executed))


def test_json_is_all_there_is_on_standard_output(
    bench: Bench, pictures: Path, world: World
) -> None:
    ran = bench("choose", str(pictures), *NAMES, "--format", "json")
    answer = json.loads(ran.out)
    assert answer["clear"] in (True, False)
    assert ran.code == 0


def test_without_a_pick_the_exit_code_says_so(bench: Bench, pictures: Path, world: World) -> None:
    world.statuses = {"probe MobileNetV2": "failed", "probe ResNet50": "failed"}
    ran = bench("choose", str(pictures), *NAMES)
    assert ran.code == 1
    assert "no weights" in ran.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere/at/all",), "'nowhere/at/all' does not exist"),
        (("{pets}", "--backbones", "MobileNetV3"), "unknown backbone 'MobileNetV3'"),
        (("{pets}", "--backbones", "gone.keras"), "gone.keras"),
        (("{pets}", "--freezes", "top_half"), "unknown freeze strategy 'top_half'"),
        (("{pets}", "--freezes", "top_fraction=2"), "a fraction above 0 up to 1"),
        (("{pets}", "--max-latency", "5"), "--max-latency '5': expected a number above 0 in ms"),
        (("{pets}", "--time-budget", "soon"), "--time-budget 'soon'"),
        (("{pets}", "--time-budget", "5s"), "--time-budget: expected more than 8 s"),
        (
            ("{pets}", "--image-size", "16"),
            "--image-size 16: expected a number greater than or equal",
        ),
        (("{pets}", "--set", "phase2.epochs=none"), "phase2.epochs"),
        (("{pets}", "--export", "gone/model.keras"), "there is no folder gone"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    bench: Bench, pictures: Path, world: World, words: tuple[str, ...], said: str
) -> None:
    ran = bench("choose", *(w.format(pets=pictures) for w in words))
    assert ran.code == 2
    assert said in ran.err
    assert world.executed == []


def test_a_suite_names_its_own_candidates(bench: Bench, pictures: Path, world: World) -> None:
    suite = pictures.parent / "mine.toml"
    suite.write_text(
        'description = "x"\n[phase1]\nepochs = 2\nlearning_rate = 1e-3\n[phase2]\nepochs = 1\n'
        'learning_rate = 1e-5\n[[datasets]]\nname = "pets"\nfolder = "pets"\n[[matrix]]\n'
        'backbones = ["MobileNetV2", "ResNet50"]\ndatasets = ["pets"]\n'
        'freezes = ["head_only", {top_fraction = 0.2}]\nheads = ["linear"]\nseeds = [0, 1]\n'
    )
    ran = bench("choose", str(suite))
    assert ran.code == 0, ran.err
    assert "Take MobileNetV2 with its head alone" in ran.out
    assert (pictures.parent / "results" / "choose-mine-pets" / FILE).is_file()
    wrong = bench("choose", str(suite), "--backbones", "ResNet50")
    assert wrong.code == 2
    assert "names its candidates itself" in wrong.err
