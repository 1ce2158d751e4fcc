"""The comparison of the two paths, of made-up rows."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import make_result, make_spec

from bench.errors import BenchError, StoreError
from bench.records import Freeze, TrialResult
from bench.running.store import writing
from benchmarks import study

SHARED, LITERAL = (0.90, 0.92, 0.94), (0.91, 0.92, 0.93)


def measured(accuracies: Iterable[float], **changes: object) -> list[TrialResult]:
    """A row for each, of seeds 0, 1 and so on."""
    return [
        make_result(make_spec(seed=i), **({"test_accuracy": a} | changes))
        for i, a in enumerate(accuracies)
    ]


def left(folder: Path, shared: Iterable[TrialResult], literal: Iterable[TrialResult]) -> Path:
    for way, rows in (("shared", shared), ("literal", literal)):
        with writing(folder / way) as held:
            for row in rows:
                held.append(row, None)
    return folder


def cells(text: str) -> list[list[str]]:
    """The lines of a markdown table, its head apart."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def below(text: str) -> list[str]:
    """What is listed as not compared."""
    return text.partition("not compared:\n")[2].splitlines()


def test_known_numbers(tmp_path: Path) -> None:
    text = study.table(left(tmp_path, measured(SHARED), measured(LITERAL)), "github")
    # Differences of -1, 0 and 1 points: deviation 1, and t = 4.303 for two degrees of freedom.
    (line,) = cells(text)
    assert line[:6] == ["MobileNetV2", "digits", "top_blocks=2", "3", "92.00", "92.00"]
    assert line[6:] == ["+0.00", "-2.48 to +2.48", "1.00", "0"]
    assert text.endswith("cpu_float32; guards failed: none")


def test_an_accuracy_of_zero_is_a_number(tmp_path: Path) -> None:
    text = study.table(left(tmp_path, measured((0.0, 0.0)), measured((0.0, 0.0))), "github")
    assert cells(text)[0][4:9] == ["0.00", "0.00", "+0.00", "+0.00 to +0.00", "0.00"]


def test_trials_of_one_way_are_listed(tmp_path: Path) -> None:
    folder = left(tmp_path, measured(SHARED), measured((*LITERAL, 0.9))[1:])
    text = study.table(folder, "github")
    assert cells(text)[0][3] == "2"
    label = "MobileNetV2 · digits · top_blocks=2 · linear"
    assert below(text) == [
        f"{label} · seed 0: literal: not measured",
        f"{label} · seed 3: shared: not measured",
    ]


def test_rows_without_a_result_are_listed_and_in_no_mean(tmp_path: Path) -> None:
    bad = make_result(
        make_spec(seed=3), status="failed", reason="ValueError:\nodd", test_accuracy=None
    )
    folder = left(tmp_path, measured((*SHARED, 0.1)), [*measured(LITERAL), bad])
    text = study.table(folder, "github")
    assert cells(text)[0][3:5] == ["3", "92.00"]
    (line,) = below(text)
    assert line.endswith("seed 3: literal: failed ValueError: odd")


def test_a_configuration_of_one_seed_is_listed(tmp_path: Path) -> None:
    alone = [make_result(make_spec(Freeze(strategy="all")))]
    folder = left(tmp_path, [*measured(SHARED), *alone], [*measured(LITERAL), *alone])
    text = study.table(folder, "github")
    assert len(cells(text)) == 1
    (line,) = below(text)
    assert line.startswith("MobileNetV2 · digits · all · linear · seed 0: the only seed")


@pytest.mark.parametrize(
    ("shared", "literal"),
    [(measured([0.9]), measured([0.9])), (measured(SHARED), measured(LITERAL, status="timeout"))],
    ids=["one seed", "nothing ended ok"],
)
def test_fewer_than_two_seeds_are_one_message(
    tmp_path: Path, shared: list[TrialResult], literal: list[TrialResult]
) -> None:
    with pytest.raises(BenchError, match=r"fewer than two seeds(.|\n)*seed 0: "):
        study.table(left(tmp_path, shared, literal), "github")


def test_a_way_that_was_never_measured(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="shared"):
        study.table(tmp_path, "github")


# ----------------------------------------------------------------------------------------- runs


def ended(folder: Path, code: int, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[list[str]]:
    """The commands of a study whose runs end with this code."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(returncode=code)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["study", "--folder", str(folder), *words])
    study.main()
    return commands


@pytest.mark.parametrize("code", [0, 1])
def test_a_failed_guard_does_not_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    left(tmp_path, measured(SHARED), measured(LITERAL))
    commands = ended(tmp_path, code, monkeypatch)
    assert ["--literal" in c for c in commands] == [False, True]
    assert [c[c.index("--results") + 1] for c in commands] == [
        str(tmp_path / way) for way in study.WAYS
    ]
    assert "MobileNetV2" in capsys.readouterr().out


@pytest.mark.parametrize("code", [2, 130, 143, -9])
def test_wrong_input_or_a_signal_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    left(tmp_path, measured(SHARED), measured(LITERAL))
    with pytest.raises(SystemExit) as stopped:
        ended(tmp_path, code, monkeypatch)
    line = f"study: the shared run ended with exit code {code}: nothing is compared"
    assert stopped.value.code == line


def test_showing_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left(tmp_path, measured(SHARED), measured(LITERAL))
    assert ended(tmp_path, 2, monkeypatch, "--show") == []
