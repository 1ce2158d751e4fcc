"""The Slurm script: what it starts, in what order, and that it leaves no Ray behind; the container.

Slurm, Ray and Bench are stand-ins that note how they were called. A step of Slurm is a process
here.
"""

import os
import re
import shutil
import signal
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "slurm" / "bench_ray.sbatch"
STEP = r"""
while [[ $1 == --* ]]; do [[ $1 == --ntasks=* ]] && tasks=${1#*=}; shift; done
for ((i = 0; i < tasks; i++)); do "$@" & done
trap 'kill $(jobs -p) 2> /dev/null; wait; exit 143' TERM
wait
"""
RAY = r"""
case "$1 $*" in
    status*) cat "$PLACE"/joined/* 2> /dev/null ;;
    start*)
        [[ -z ${REFUSES:-} || $* != *"$REFUSES"* ]] || exit 1
        mkdir -p "$PLACE/joined"
        echo " 1 node_$(printf '%08x' $$)" > "$PLACE/joined/$$"
        trap 'note stopped; rm "$PLACE/joined/$$"; kill $!; exit 143' TERM
        sleep 60 & wait $!
        ;;
esac
"""
BENCH = r"""
echo "$RAY_AUTH_MODE $RAY_AUTH_TOKEN" > "$PLACE/token"
trap 'note bench ended; kill $!; exit 143' TERM
[[ -z ${LASTS:-} ]] || { sleep "$LASTS" & wait $!; }
exit "${CODE:-0}"
"""
SCONTROL = 'if [[ $1 == show ]]; then printf "%s\\n" ${3//,/ }; fi'
HOSTNAME = "echo ${ADDRESSES:-10.0.0.7}"
NOTING = """#!/usr/bin/env bash
note() { echo "$@" >> "$PLACE/noted"; }
note "$(basename "$0")" "$@"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the stand-ins in ``bin``."""
    (tmp_path / "bin").mkdir()
    stand_ins = {"srun": STEP, "ray": RAY, "bench": BENCH, "scontrol": SCONTROL}
    for name, content in (stand_ins | {"hostname": HOSTNAME}).items():
        file = tmp_path / "bin" / name
        file.write_text(NOTING + content)
        file.chmod(0o755)
    return tmp_path


def started(place: Path, *words: str, **variables: str) -> "subprocess.Popen[str]":
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SLURM_"))}
    environ |= {
        "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PLACE": str(place),
        "SLURM_JOB_ID": "31234",
        "SLURM_JOB_NODELIST": "n1,n2,n3",
        "SLURM_CPUS_ON_NODE": "8",
    }
    return subprocess.Popen(
        [SCRIPT, *words],
        env=environ | variables,
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit code, and what was said on standard error."""
    _, said = process.communicate(timeout=30)
    return process.returncode, said


def noted(place: Path, but: str = "ray status") -> list[str]:
    file = place / "noted"
    lines = file.read_text().splitlines() if file.exists() else []
    return [line for line in lines if not line.startswith(but)]


def awaited(place: Path, text: str) -> None:
    until = time.monotonic() + 20
    while not any(line.startswith(text) for line in noted(place)):
        assert time.monotonic() < until, noted(place)
        time.sleep(0.05)


def test_ray_starts_on_all_nodes_then_the_suite_runs_there_then_ray_ends(place: Path) -> None:
    code, said = ended(started(place, "suites/x.toml", "--workers", "3", SLURM_CPUS_PER_TASK="4"))
    assert (code, said) == (0, "")
    start = "ray start --block --num-cpus=4 --disable-usage-stats"
    head = "--head --node-ip-address=10.0.0.7 --port=21234 --include-dashboard=false"
    lines = noted(place)
    assert lines[:3] == [
        "scontrol show hostnames n1,n2,n3",
        "srun --nodes=1 --ntasks=1 --nodelist=n1 hostname --ip-address",
        "hostname --ip-address",
    ]
    assert lines[3:5] == [
        f"srun --nodes=1 --ntasks=1 --nodelist=n1 {start} {head}",
        f"{start} {head}",
    ]
    others = "--nodes=2 --ntasks=2 --exclude=n1 --kill-on-bad-exit=0"
    worker = f"{start} --address=10.0.0.7:21234"
    assert lines[5:8] == [f"srun {others} {worker}", worker, worker]
    assert lines[8] == "bench run suites/x.toml --engine ray --address 10.0.0.7:21234 --workers 3"
    assert lines[9:] == ["stopped"] * 3
    assert list((place / "joined").iterdir()) == []


def test_one_node_is_enough(place: Path) -> None:
    code, _ = ended(
        started(place, "x.toml", SLURM_JOB_NODELIST="n1", RAY_PORT="7", HEAD_IP="127.0.0.1")
    )
    assert code == 0
    assert [line for line in noted(place) if line.startswith("srun")][1:] == []
    assert noted(place)[-2:] == ["bench run x.toml --engine ray --address 127.0.0.1:7", "stopped"]


@pytest.mark.parametrize("code", [1, 2, 70])
def test_ray_ends_whatever_becomes_of_the_suite(place: Path, code: int) -> None:
    assert ended(started(place, "x.toml", CODE=str(code)))[0] == code
    assert noted(place)[-3:] == ["stopped"] * 3


@pytest.mark.parametrize("again", ["0", "1"])
def test_a_signal_ends_the_suite_first_then_ray(place: Path, again: str) -> None:
    process = started(place, "x.toml", LASTS="60", REQUEUE=again)
    awaited(place, "bench run")
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 143
    lines = noted(place)
    after = lines[lines.index("bench ended") :]
    assert after[1:4] == ["stopped"] * 3
    assert after[4:] == (["scontrol requeue 31234"] if again == "1" else [])


@pytest.mark.parametrize("refuses", ["--head", "--address"])
def test_a_ray_that_does_not_start_ends_the_job(place: Path, refuses: str) -> None:
    code, said = ended(started(place, "x.toml", REFUSES=refuses))
    assert code == 1
    assert said == "bench_ray: Ray ended before all nodes had joined\n"
    assert not any(line.startswith("bench") for line in noted(place))
    assert noted(place).count("stopped") == (1 if refuses == "--address" else 0)


def test_a_node_that_never_joins_ends_the_job(place: Path) -> None:
    ray = place / "bin" / "ray"
    ray.write_text(ray.read_text().replace("cat ", "cat < "))  # of one file alone
    ray.write_text(
        ray.read_text().replace('"$PLACE"/joined/*', '"$(ls -d $PLACE/joined/* | head -1)"')
    )
    code, said = ended(started(place, "x.toml", JOIN_SECONDS="2"))
    assert code == 1
    assert re.fullmatch(r"bench_ray: 1 of 3 nodes have joined Ray after \d+ seconds\n", said)
    assert noted(place)[-1] == "stopped"


def test_an_address_that_only_the_first_node_knows(place: Path) -> None:
    code, said = ended(started(place, "x.toml", ADDRESSES="127.0.1.1"))
    assert (code, said) == (
        1,
        "bench_ray: found no address of n1 for the other nodes: set HEAD_IP\n",
    )
    (place / "noted").unlink()
    assert ended(started(place, "x.toml", ADDRESSES="fe80::1 10.1.1.1"))[0] == 0
    assert any("--address 10.1.1.1:21234" in line for line in noted(place))


def test_every_job_has_a_token_of_its_own(place: Path) -> None:
    tokens = []
    for _ in range(2):
        assert ended(started(place, "x.toml", SLURM_JOB_NODELIST="n1"))[0] == 0
        tokens.append((place / "token").read_text().split())
    assert [mode for mode, _ in tokens] == ["token"] * 2
    assert len({token for _, token in tokens}) == 2
    assert all(re.fullmatch("[0-9a-f]{64}", token) for _, token in tokens)
    assert not any(token in line for _, token in tokens for line in noted(place, but="-"))
    mine = started(place, "x.toml", SLURM_JOB_NODELIST="n1", RAY_AUTH_TOKEN="mine")
    assert ended(mine)[0] == 0
    assert (place / "token").read_text() == "token mine\n"


def test_commands_run_in_the_container_and_after_the_setup(place: Path) -> None:
    (place / "setup.sh").write_text("export LASTS=0 RAY_AUTH_TOKEN='of setup'\n")
    container = place / "bin" / "box"
    container.write_text('#!/usr/bin/env bash\nshift 2\nexec "$@"\n')
    container.chmod(0o755)
    words = {"WITH": "box exec bench.sif", "SETUP": "./setup.sh", "SLURM_JOB_NODELIST": "n1"}
    assert ended(started(place, "x.toml", **words))[0] == 0
    assert (place / "token").read_text() == "token of setup\n"
    lines = noted(place, but="-")
    assert any(re.search("srun .* box exec bench.sif ray start", line) for line in lines)
    assert "ray status --address=10.0.0.7:21234" in lines


def test_without_a_suite_it_says_how(place: Path) -> None:
    code, said = ended(started(place))
    assert code != 0
    assert "usage: sbatch bench_ray.sbatch SUITE" in said


def test_the_shell_and_its_critic_find_nothing_wrong() -> None:
    for script in (SCRIPT, ROOT / "scripts" / "measure_on_gpu.sh"):
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
        if critic := shutil.which("shellcheck"):
            assert subprocess.run([critic, script], check=False).returncode == 0


# ------------------------------------------------------------------------------- the container file


def instructions() -> list[tuple[str, str]]:
    """Of the container file, as (word, rest); nobody builds it here."""
    text = (ROOT / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return [
        (line.split(maxsplit=1)[0], line.split(maxsplit=1)[1])
        for line in lines
        if line and not line.startswith("#")
    ]


def named(word: str) -> list[str]:
    return [rest for found, rest in instructions() if found == word]


def test_the_container_copies_what_is_there_and_all_that_the_package_needs() -> None:
    copied = [name for rest in named("COPY") for name in rest.split()[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"pyproject.toml", "constraints.txt", "bench"} <= {*copied}
    assert {project["readme"], *project["license-files"]} <= {*copied}


def test_the_container_asks_for_extras_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    arguments = dict(rest.partition("=")[::2] for rest in named("ARG"))
    head = (ROOT / "Containerfile").read_text().partition("ARG PYTHON")[0]
    shown = re.findall(r"EXTRAS=([\w,]+)", head)
    assert shown
    for extras in (arguments["EXTRAS"], *shown):
        assert {*extras.split(",")} <= {*project["optional-dependencies"]}
    assert Version(arguments["PYTHON"]) in SpecifierSet(project["requires-python"])
    (install, _) = named("RUN")
    for name in ("EXTRAS", "CUDA", "STORE"):
        assert f"${{{name}}}" in install
    assert "--constraint constraints.txt" in install


def test_the_container_names_no_registry_and_runs_as_nobody_special() -> None:
    assert named("FROM") == ["python:${PYTHON}-slim"]
    (user,) = named("USER")
    assert user != "root"
    words = [word for word, _ in instructions()]
    assert words.index("USER") > max(i for i, word in enumerate(words) if word == "RUN")
