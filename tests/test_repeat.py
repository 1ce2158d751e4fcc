"""Repeated measurements: whether they agree, and what is said of it."""

import subprocess
from pathlib import Path

import pytest
from conftest import make_cost, make_rate

from bench.costs import CostResult, CostSpec
from bench.errors import BenchError
from bench.running.store import writing
from benchmarks import repeat
from benchmarks.repeat import Repeats, Report


def row(median: float, low: float, high: float, spec: CostSpec | None = None) -> CostResult:
    return make_cost(spec, device=make_rate(median, low, high), elsewhere=0.04)


AGREEING = Repeats(rows=(row(100, 95, 105), row(102, 96, 106), row(98, 90, 103)))
TORN = Repeats(rows=(row(100, 95, 105), row(102, 96, 106), row(110, 101, 112)))


def report(*cases: Repeats) -> Report:
    return Report(command="python -m benchmarks.repeat", measured_at="2026", cases=cases)


def test_agreement_is_of_every_pair_both_ways() -> None:
    assert AGREEING.agreeing == (6, 6)
    # 110 lies in neither of the others' intervals; one of theirs lies in its.
    assert TORN.agreeing == (3, 6)
    assert [TORN.missed_by(rate) for rate in TORN.rates] == [1, 0, 2]


def test_what_the_others_together_foretell() -> None:
    assert AGREEING.foretold == 3
    assert TORN.foretold == 2


def test_a_spread_is_a_share_of_the_middle() -> None:
    assert AGREEING.spread == pytest.approx(0.04)
    assert TORN.spread == pytest.approx(10 / 102)


def test_the_sentence_says_how_far() -> None:
    assert repeat.sentence(report(AGREEING)) == (
        "MobileNetV2, inference: 3 medians within 4.0%; the interval of a single run holds the "
        "median of another in 6 of 6 pairs, that of the other 2 runs together (--runs 2) in 3 of 3"
    )
    assert "in 3 of 6 pairs" in repeat.sentence(report(AGREEING, TORN))


def test_the_table_has_a_line_for_each() -> None:
    lines = [line.split("|") for line in repeat.table(report(TORN), "github").splitlines()[2:5]]
    cells = [[cell.strip() for cell in line[1:-1]] for line in lines]
    assert cells[0] == ["MobileNetV2, inference", "1", "100", "95–105", "1 of 2", "4%"]
    assert cells[2] == ["MobileNetV2, inference", "3", "110", "101–112", "2 of 2", "4%"]
    assert "At 224 px, batch 32, on tensorflow-2.21.0" in repeat.table(report(TORN))


def test_cases_take_turns_each_in_a_folder_of_its_own() -> None:
    asked: list[tuple[str, Path]] = []

    def measure(spec: CostSpec, seconds: float, folder: Path) -> CostResult:
        asked.append((spec.work, folder))
        return row(100 + len(asked), 90, 110, spec)

    found = repeat.measure_all(repeat.cases(32, 4), 2, 0.1, "as typed", measure)
    works = ["inference", "phase 2 top_blocks=2"]
    assert [work for work, _ in asked] == works * 2
    assert len({folder for _, folder in asked}) == 4
    assert [c.rows[0].spec.work for c in found.cases] == works
    assert [[r.median for r in c.rates] for c in found.cases] == [[101, 103], [102, 104]]


class Command:
    """Stands in for ``bench measure``: leaves a row behind, or says what is wrong.

    Attributes:
        words: that it was called with.
    """

    def __init__(self, code: int, *rows: CostResult) -> None:
        self.code, self.rows, self.words = code, rows, list[str]()

    def __call__(self, words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.words = words
        with writing(Path(words[-1]) / "measure") as held:
            for each in self.rows:
                held.append(each, None)
        return subprocess.CompletedProcess(words, self.code, "", "a note\nbench: no such thing\n")


def test_a_measurement_is_the_command_of_one_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, _ = repeat.cases(32, 4)
    command = Command(0, row(100, 90, 110, spec))
    monkeypatch.setattr(subprocess, "run", command)
    assert repeat.measured(spec, 0.5, tmp_path).spec == spec
    assert command.words[2:6] == ["bench", "measure", "MobileNetV2", "--image-size"]
    assert command.words[command.words.index("--only") + 1] == spec.label


def test_a_measurement_without_a_result_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, _ = repeat.cases(32, 4)
    failed = make_cost(spec, status="failed", reason="the disk is full", device=None)
    monkeypatch.setattr(subprocess, "run", Command(1, failed))
    with pytest.raises(BenchError, match="failed: the disk is full"):
        repeat.measured(spec, 0.5, tmp_path / "a")
    monkeypatch.setattr(subprocess, "run", Command(2))
    with pytest.raises(BenchError, match="exit code 2: bench: no such thing"):
        repeat.measured(spec, 0.5, tmp_path / "b")


def test_the_cases_are_what_bench_measure_calls_them() -> None:
    from bench.running.cases import Choice, of_backbones

    known = of_backbones(["MobileNetV2"], Choice(batch_sizes=(4,), image_size=32)).cases
    assert set(repeat.cases(32, 4)) <= set(known)


@pytest.mark.parametrize(("cases", "code"), [((AGREEING,), 0), ((AGREEING, TORN), 1)])
def test_show_prints_a_file_and_its_exit_code_the_verdict(
    cases: tuple[Repeats, ...], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "r.json"
    file.write_text(report(*cases).model_dump_json(), encoding="utf-8")
    assert repeat.main(["--show", str(file)]) == code
    assert capsys.readouterr().out.startswith(repeat.sentence(report(*cases)))


def test_wrong_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert repeat.main(["--repeats", "1"]) == 2
    assert "--repeats 1: expected at least 2" in capsys.readouterr().err
    assert repeat.main(["--show", str(tmp_path / "absent.json")]) == 2
    assert "absent.json: expected a file of benchmarks.repeat" in capsys.readouterr().err
