"""Listings: every row of every table is there, and a wrong suite hides no other."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.cache import CacheEntry
from bench.data.datasets import DATASETS
from bench.reporting.listings import cache_listing, listing, size
from bench.zoo.augmentation import AUGMENTATIONS
from bench.zoo.backbones import BACKBONES
from bench.zoo.freezing import FREEZES
from bench.zoo.heads import HEADS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("backbones", BACKBONES),
        ("datasets", DATASETS),
        ("freezes", FREEZES),
        ("heads", HEADS),
        ("augmentations", AUGMENTATIONS),
    ],
)
def test_every_row_is_listed_once(kind: str, names: dict[str, object]) -> None:
    lines = listing(kind, ROOT / "suites").splitlines()
    firsts = [line.split(" ")[0] for line in lines]
    assert [first for first in firsts if first in names] == list(names)


def test_numbers_of_a_backbone() -> None:
    (line,) = [x for x in listing("backbones", ROOT).splitlines() if x.startswith("MobileNetV2 ")]
    assert line.split() == ["MobileNetV2", "MobileNetV2", "224", "2,257,984", "1280", "71.3"]


def test_a_dataset_shows_its_caveats() -> None:
    assert "Its pictures are ImageNet pictures" in listing("datasets", ROOT)


def test_suites_are_listed_with_their_trials() -> None:
    text = listing("suites", ROOT / "suites")
    (line,) = [x for x in text.splitlines() if "matrix.toml" in x]
    assert " 180 " in line


def test_a_wrong_suite_is_listed_as_wrong_beside_the_good_ones(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "bad.toml").write_text("description = 3\n")
    good = (ROOT / "suites" / "quickstart.toml").read_text(encoding="utf-8")
    (tmp_path / "good.toml").write_text(good, encoding="utf-8")
    lines = listing("suites", tmp_path).splitlines()
    assert sum("good.toml" in line for line in lines) == 1
    (wrong,) = [line for line in lines if "bad.toml" in line]
    assert "wrong: " in wrong
    assert "description" in wrong


def test_no_suites(tmp_path: Path) -> None:
    assert listing("suites", tmp_path) == f"{tmp_path}: no suites"


def test_the_cache_is_listed_with_its_total() -> None:
    now = datetime(2026, 1, 2, 12, tzinfo=UTC)
    entries = [
        CacheEntry(Path("a"), "images", "digits", 96, 1797, bytes=3 * 2**20, last_used=now),
        CacheEntry(Path("b"), "heads", "linear on x", None, 2, bytes=3 * 2**20, last_used=now),
    ]
    text = cache_listing(Path("/cache"), entries, 20 * 2**30)
    titles, _, pictures, head, total = text.splitlines()
    assert titles.split() == ["kind", "what", "pixels", "items", "size", "last", "used"]
    assert pictures.split()[:6] == ["images", "digits", "96", "1,797", "3", "MiB"]
    assert head.split()[:8] == ["heads", "linear", "on", "x", "–", "2", "3", "MiB"]
    assert "2026-01-02" in head
    assert total == "/cache: 6 MiB of at most 20 GiB"
    assert cache_listing(Path("/cache/heads"), entries[1:]).endswith("\n/cache/heads: 3 MiB")


def test_an_empty_cache() -> None:
    assert cache_listing(Path("/cache"), []) == "/cache: empty"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1010, "1010 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (225 * 2**20, "225 MiB"),
        (1010 * 2**20, "1010 MiB"),
        (3 * 2**30, "3 GiB"),
        (5000 * 2**30, "5000 GiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
