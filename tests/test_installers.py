"""What installers print, and how they are called: by stubs on PATH."""

import sys
from pathlib import Path

import pytest

from bench.running import installers
from bench.running.installers import InstallError

PIP_CONFLICT = """\
Looking in indexes: https://me:secret@example.org/simple
Collecting tensorflow==2.18.*
  Using cached tensorflow-2.18.1.whl
ERROR: Cannot install numpy==2.4.6 and tensorflow==2.18.* because these package versions have \
conflicting dependencies.

The conflict is caused by:
    The user requested numpy==2.4.6
    tensorflow 2.18.1 depends on numpy<2.1.0 and >=1.26.0

To fix this you could try to:
1. loosen the range of package versions you've specified

ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/en/latest/
"""
PIP_ABSENT = """\
ERROR: Could not find a version that satisfies the requirement tensorflow==9.9 (from versions: 2.1)
ERROR: No matching distribution found for tensorflow==9.9
"""
UV = """\
  × No solution found when resolving dependencies:
  ╰─▶ Because there is no version of tensorflow==9.9 and you require tensorflow==9.9,
      we can conclude that your requirements are unsatisfiable.
"""
OTHER = "Downloading\nsomething broke\nat https://example.org/simple/x.whl (timeout)\n"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            PIP_CONFLICT,
            "Cannot install numpy==2.4.6 and tensorflow==2.18.* because these package versions "
            "have conflicting dependencies. The user requested numpy==2.4.6; "
            "tensorflow 2.18.1 depends on numpy<2.1.0 and >=1.26.0;",
        ),
        (PIP_ABSENT, "No matching distribution found for tensorflow==9.9"),
        (
            UV,
            "No solution found when resolving dependencies: Because there is no version of "
            "tensorflow==9.9 and you require tensorflow==9.9, we can conclude that your "
            "requirements are unsatisfiable.",
        ),
        (OTHER, "Downloading something broke at <address> (timeout)"),
        ("", ""),
    ],
)
def test_a_complaint_is_one_line_without_addresses(output: str, said: str) -> None:
    assert installers.complaint(output) == said


def stub(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", "/not/inherited")
    return tmp_path / "bin"


def test_uv_is_used_where_it_is(on_path: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    stub(on_path, "uv", f'echo "$@" "[$PYTHONPATH]" >> {log}')
    installer = installers.best()
    installer.make(tmp_path / "env")
    installer.install(tmp_path / "env", ["keras==3.15.1", "numpy"])
    installer.replace(tmp_path / "env", ["numpy==2"])
    assert log.read_text().splitlines() == [
        f"venv --quiet --python {sys.executable} {tmp_path / 'env'} []",
        f"pip install --python {tmp_path / 'env' / 'bin' / 'python'} keras==3.15.1 numpy []",
        f"pip install --python {tmp_path / 'env' / 'bin' / 'python'} --no-deps numpy==2 []",
    ]


def test_pip_where_it_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    installer = installers.best()
    assert isinstance(installer, installers.Pip)
    log = tmp_path / "log"
    stub(tmp_path, "stub", f'echo "$@" >> {log}; mkdir -p {tmp_path}/env/bin')
    (tmp_path / "stub").write_text(f"#!/bin/sh\necho $@ >> {log}\n")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "stub"))
    installer.make(tmp_path / "env")
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "python").symlink_to(tmp_path / "stub")
    installer.install(tmp_path / "env", ["keras"])
    installer.replace(tmp_path / "env", ["keras"])
    assert log.read_text().splitlines() == [
        f"-m venv {tmp_path / 'env'}",
        "-m pip install --no-input keras",
        "-m pip install --no-input --no-deps keras",
    ]


@pytest.mark.parametrize(
    ("script", "said", "unresolved"),
    [
        ("echo 'No solution found: no'; exit 1", "No solution found: no", True),
        ("echo 'no space left' >&2; exit 2", "no space left", False),
        ("exit 3", "uv ended with 3", False),
    ],
)
def test_a_failure_says_whether_versions_are_to_blame(
    on_path: Path, tmp_path: Path, script: str, said: str, unresolved: bool
) -> None:
    stub(on_path, "uv", script)
    with pytest.raises(InstallError) as caught:
        installers.best().install(tmp_path, ["x"])
    assert (str(caught.value), caught.value.unresolved) == (said, unresolved)


def test_an_installer_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="python: ") as caught:
        installers.Pip().install(tmp_path, ["x"])
    assert not caught.value.unresolved
