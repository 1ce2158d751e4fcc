"""The live report, with a clock of our own and consoles that keep what they are given."""

import errno
import io
import os
import re
import sys

import pytest
from conftest import STACK, make_phase, make_probe, make_result, make_spec
from rich.console import Console

from bench.cli import console as console_of_commands
from bench.progress import Progress
from bench.records import Guard
from bench.reporting import consoles
from bench.reporting.live import PLAIN_SECONDS, LiveReport, describe, outcome, show

EPOCH = make_phase(0.9).epochs[0]
EPOCH_ENDS = Progress(stage="phase 1", epoch=1, epochs=3, step=8, steps=8, epoch_done=EPOCH)
STEPS = Progress(stage="phase 1", epoch=2, epochs=3, step=4, steps=8)
LABEL = "MobileNetV2 · digits · top_blocks=2 · linear · seed 0"


SPEC = make_spec()


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _plain() -> tuple[LiveReport, io.StringIO, Clock]:
    text, clock = io.StringIO(), Clock()
    return (
        LiveReport(Console(file=text, width=40, force_terminal=False), "small", clock=clock),
        text,
        clock,
    )


def test_a_plain_log_of_a_whole_run() -> None:
    report, text, clock = _plain()
    with report:
        report.begins(STACK, trials=3, settled=1)
        report.trial_begins(make_spec())
        report.progress(SPEC, EPOCH_ENDS)
        clock.now += 90
        report.trial_ends(make_result())
        report.trial_begins(make_spec(seed=1))
        clock.now += 30
        report.trial_ends(make_result(make_spec(seed=1), status="timeout", reason="too slow"))
    assert text.getvalue().splitlines() == [
        "small: 3 trials, 1 measured before · tensorflow-2.21.0_keras-3.15.1_cpu_float32",
        f"[2/3] {LABEL} · phase 1 epoch 1/3: loss 0.5000 accuracy 0.9000 "
        "val loss 0.6000 accuracy 0.9000",
        f"[2/3] {LABEL} · test 94.0% · guards pass · 5 s · about 1 min 30 s left",
        f"[3/3] {LABEL[:-1]}1 · timeout: too slow",
    ]


@pytest.mark.parametrize(
    ("trials", "settled", "seconds", "left"),
    [
        (2, 0, 60, "about 1 min 00 s left"),
        (11, 0, 60, "about 10 min 00 s left"),
        (11, 8, 60, "about 2 min 00 s left"),
        (1, 0, 60, ""),
        (9, 8, 60, ""),
    ],
)
def test_remaining_time_is_the_mean_of_this_run_times_what_is_left(
    trials: int, settled: int, seconds: float, left: str
) -> None:
    report, text, clock = _plain()
    report.begins(STACK, trials, settled)
    report.trial_begins(make_spec())
    clock.now += seconds
    report.trial_ends(make_result())
    last = text.getvalue().splitlines()[-1]
    assert last.endswith(left or "guards pass · 5 s")
    assert ("left" in last) == bool(left)


def test_remaining_time_averages_over_trials() -> None:
    report, text, clock = _plain()
    report.begins(STACK, 4, 0)
    for seed, seconds in enumerate((10, 50)):
        report.trial_begins(make_spec(seed=seed))
        clock.now += seconds
        report.trial_ends(make_result(make_spec(seed=seed)))
    assert text.getvalue().splitlines()[-1].endswith("about 1 min 00 s left")


def test_steps_on_a_plain_log_are_rare() -> None:
    report, text, clock = _plain()
    report.begins(STACK, 1, 0)
    report.trial_begins(make_spec())
    for _ in range(10):
        clock.now += PLAIN_SECONDS / 4
        report.progress(SPEC, STEPS)
    lines = text.getvalue().splitlines()[1:]
    assert len(lines) == 2
    assert lines[0].endswith("phase 1 epoch 2/3: 4/8")


def test_a_plain_log_holds_no_control_characters_and_no_markup() -> None:
    report, text, _ = _plain()
    with report:
        report.begins(STACK, 1, 0)
        report.trial_begins(make_spec())
        report.trial_ends(make_result(status="failed", reason="[red]boom[/red] :smile: [/]"))
    assert "\x1b" not in text.getvalue()
    assert "failed: [red]boom[/red] :smile: [/]" in text.getvalue()


def test_a_terminal_shows_steps_and_ends_clean() -> None:
    text = io.StringIO()
    console = Console(file=text, width=200, force_terminal=True, color_system=None)
    with LiveReport(console, "small", clock=Clock()) as report:
        report.begins(STACK, 2, 0)
        for seed in range(2):
            spec = make_spec(seed=seed)
            report.trial_begins(spec)
            report.progress(spec, STEPS)
            report.progress(spec, EPOCH_ENDS)
            report.trial_ends(make_result(make_spec(seed=seed)))
    shown = text.getvalue()
    assert "phase 1 epoch 2/3: 4/8" in shown
    assert shown.count("guards pass") == 2
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is back"
    after_last_outcome = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.rpartition("guards pass")[2])
    assert "phase" not in after_last_outcome


def test_a_terminal_ends_clean_after_an_exception() -> None:
    text = io.StringIO()
    console = Console(file=text, width=80, force_terminal=True, color_system=None)
    report = LiveReport(console, "small", clock=Clock())

    def interrupted() -> None:
        with report:
            report.begins(STACK, 1, 0)
            report.trial_begins(make_spec())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert text.getvalue().rindex("\x1b[?25h") > text.getvalue().rindex("\x1b[?25l")


def test_a_long_status_stays_on_one_line_of_a_terminal() -> None:
    text = io.StringIO()
    console = Console(file=text, width=30, force_terminal=True, color_system=None)
    with LiveReport(console, "small", clock=Clock()) as report:
        report.begins(STACK, 1, 0)
        before = text.getvalue().count("\n")
        report.trial_begins(make_spec())
        report.progress(SPEC, STEPS)
        assert text.getvalue().count("\n") == before


# ------------------------------------------------------------------------------ side by side


def test_lines_of_trials_that_run_at_once_say_which_is_meant() -> None:
    report, text, clock = _plain()
    other = make_spec(seed=1)
    with report:
        report.begins(STACK, trials=4, settled=1)
        report.trial_begins(SPEC)
        report.trial_begins(other)
        report.progress(SPEC, EPOCH_ENDS)
        clock.now += 40
        report.progress(other, STEPS)
        report.progress(SPEC, STEPS)
        report.progress(other, STEPS)
        report.trial_ends(make_result(other))
        report.trial_ends(make_result())
    lead, lead_of_other = f"[2/4] {LABEL}", f"[3/4] {LABEL[:-1]}1"
    assert text.getvalue().splitlines()[1:] == [
        f"{lead} · {describe(EPOCH_ENDS)}",
        f"{lead_of_other} · {describe(STEPS)}",
        f"{lead} · {describe(STEPS)}",
        f"{lead_of_other} · test 94.0% · guards pass · 5 s · about 1 min 20 s left",
        f"{lead} · test 94.0% · guards pass · 5 s · about 20 s left",
    ]


def test_a_terminal_shows_a_line_for_each_trial_that_runs() -> None:
    text = io.StringIO()
    console = Console(file=text, width=200, force_terminal=True, color_system=None)
    other = make_spec(seed=1)
    with LiveReport(console, "small", clock=Clock()) as report:
        report.begins(STACK, 2, 0)
        report.trial_begins(SPEC)
        report.trial_begins(other)
        report.progress(other, STEPS)
        lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue()).splitlines()
        assert [line.strip() for line in lines[-2:]] == [
            f"small [1/2] {LABEL}",
            f"[2/2] {LABEL[:-1]}1 · {describe(STEPS)}",
        ]
        report.trial_ends(make_result(other))
        report.trial_ends(make_result())
    assert text.getvalue().count("guards pass") == 2


# ------------------------------------------------------------------------------ small words


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress(stage="weights"), "weights"),
        (Progress(stage="images", step=10, steps=600), "images: 10/600"),
        (STEPS, "phase 1 epoch 2/3: 4/8"),
        (Progress(stage="phase 2", epoch=4, epochs=8), "phase 2 epoch 4/8"),
    ],
)
def test_descriptions(progress: Progress, text: str) -> None:
    assert describe(progress) == text


def test_outcomes() -> None:
    assert outcome(make_probe()) == "linear probe: val 82.0% · 9 s"
    assert outcome(make_probe(status="failed", reason="no pictures")) == "failed: no pictures"
    assert outcome(make_result()) == "test 94.0% · guards pass · 5 s"
    assert outcome(make_result(status="skipped", reason="no blocks")) == "skipped: no blocks"
    guards = tuple(Guard(name=n, passed=False, evidence="") for n in ("a", "b"))
    assert outcome(make_result(guards=guards)) == "test 94.0% · GUARDS FAILED: a, b · 5 s"


class Gone(io.StringIO):
    """A stream whose other end goes away when a test says so."""

    code = 0

    def write(self, text: str) -> int:
        if self.code:
            raise OSError(self.code, os.strerror(self.code))
        return super().write(text)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_terminal_that_was_closed_stops_no_run(terminal: bool) -> None:
    stream = Gone()
    report = LiveReport(Console(file=stream, force_terminal=terminal), "small")
    with report:
        report.begins(STACK, trials=1, settled=0)
        stream.code = errno.EIO
        report.trial_begins(make_spec())
        report.progress(SPEC, EPOCH_ENDS)
        report.trial_ends(make_result())
    assert "small: 1 trial" in stream.getvalue()


def test_a_pipe_that_was_closed_ends_the_run_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, said = Gone(), io.StringIO()
    report = LiveReport(consoles.Console(file=stream, force_terminal=False), "small")
    report.begins(STACK, trials=1, settled=0)
    stream.code = errno.EPIPE
    monkeypatch.setattr(sys, "stderr", said)
    report.trial_begins(make_spec())
    with pytest.raises(SystemExit) as ended:
        report.trial_ends(make_result())
    assert ended.value.code == 1
    assert "what was measured is kept, the same command goes on" in said.getvalue()


def test_a_signal_during_a_print_keeps_its_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)

    class Ended(Gone):
        def write(self, text: str) -> int:
            raise SystemExit(143)  # as the handler of SIGTERM does, wherever it comes

    with pytest.raises(SystemExit) as ended:
        show(consoles.Console(file=Ended()), "a line")
    assert (ended.value.code, said.getvalue()) == (143, "")


def test_a_pipe_that_was_closed_takes_no_other_stream_with_it() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    before = os.fstat(sys.__stdout__.fileno()) if sys.__stdout__ else None
    with os.fdopen(writing, "w") as pipe:
        console = consoles.Console(file=pipe)
        with pytest.raises(consoles.Closed):
            console.print("a line")
        pipe.write("what is left")  # goes nowhere, where it would break at the process' end
    assert console.gone
    assert before is None or os.fstat(sys.__stdout__.fileno()) == before  # type: ignore[union-attr]


def test_a_note_ends_no_run_where_nobody_listens_but_the_next_line_of_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = Gone()
    stream.code = errno.EPIPE
    err = consoles.Console(file=stream)
    monkeypatch.setattr(console_of_commands, "err", err)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    console_of_commands.notes(["a doubt", "and another"])
    with pytest.raises(consoles.Closed):
        show(err, "a line of the run")


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_a_terminal_obeys_is_printed(terminal: bool) -> None:
    text = io.StringIO()
    console = Console(file=text, width=200, force_terminal=terminal, color_system=None)
    with LiveReport(console, "small\x9b31m") as report:
        report.begins(STACK, trials=1, settled=0)
        report.trial_begins(make_spec(dataset="a\x1b]0;owned\x07"))
        report.trial_ends(
            make_result(make_spec(dataset="a\x1b]0;owned\x07"), status="failed", reason="\x1b[2J")
        )
    said = text.getvalue()
    assert "owned" in said
    assert "\x1b]0;" not in said
    assert "\x1b[2J" not in said
    assert "\x9b" not in said
