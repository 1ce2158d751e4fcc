"""Isolated environments, with an installer of straw: nothing here needs a network."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

import pytest
from filelock import FileLock

from bench import cache
from bench.cache import folders
from bench.errors import BenchError, WorkerError
from bench.records import Execution
from bench.running import environments, installers, recipes, stacks
from bench.running.environments import NotMade, Ready
from bench.running.installers import InstallError
from bench.running.messages import Setup
from bench.running.process import Worker
from bench.running.recipes import Recipe
from bench.running.stacks import StackRequest
from bench.settings import Settings

STATED = [
    "tensorflow>=2.18",
    "keras>=3.6",
    "numpy>=1.26",
    "rich>=13",
    'scikit-learn>=1.4; extra == "offline"',
    'absent>=1; extra == "offline"',
    'jax>=0.4; extra == "jax"',
    'pytest>=8; extra == "dev"',
    'tomli>=2; python_version < "3.0"',
]
HERE = {
    "tensorflow": "2.21.0",
    "keras": "3.15.1",
    "numpy": "2.4.6",
    "rich": "15.0.0",
    "scikit-learn": "1.9.1",
    "jax": "0.10.2",
    "pytest": "8.0",
    "torch": "2.13.0+cpu",
}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What Bench requires, and what is installed here."""
    versions = dict(HERE)

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "requires", lambda _: STATED)
    monkeypatch.setattr(metadata, "version", version)
    return versions


def request_for(text: str) -> StackRequest:
    return stacks.parse([text, "other: current"])[0]


def recipe(text: str, backend: str = "tensorflow") -> Recipe:
    return recipes.recipe(request_for(text), backend)


class Installer:
    """Puts down what it is asked for; what does not fit is ``refuses``."""

    def __init__(self, refuses: Callable[[Sequence[str]], str] = lambda _: "") -> None:
        self.refuses, self.made, self.asked = refuses, 0, list[list[str]]()
        self.unresolved = True
        self.replaced: list[str] = []

    def make(self, folder: Path) -> None:
        self.made += 1
        (folder / "bin").mkdir(parents=True)
        installers.python(folder).touch()

    def install(self, folder: Path, requirements: Sequence[str]) -> None:
        self.asked.append(list(requirements))
        if reason := self.refuses(requirements):
            raise InstallError(reason, unresolved=self.unresolved)
        for text in requirements:
            name, _, version = text.partition("==")
            name, version = name.partition(">")[0], version.replace("*", "9") or "1.0"
            info = folder / "lib" / "python3" / "site-packages" / f"{name}-{version}.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")

    def replace(self, folder: Path, requirements: Sequence[str]) -> None:
        self.replaced += requirements
        raise InstallError("gone from the index", unresolved=True)


def silent(_: str) -> None: ...


def made_of(
    wanted: Recipe,
    settings: Settings,
    tell: Callable[[str], None] = silent,
    installer: installers.Installer | None = None,
    refresh: bool = False,
) -> environments.Made:
    """What is made, and let go of at once."""
    with ExitStack() as using:
        return environments.made(
            wanted, settings, tell, using, installer or Installer(), refresh=refresh
        )


# ------------------------------------------------------------------------------------- recipes


def test_what_bench_needs_is_pinned_to_what_is_here(installed: dict[str, str]) -> None:
    made = recipe("tensorflow==2.20.*")
    assert made.needed == ("keras>=3.6", "numpy>=1.26", "rich>=13", "scikit-learn>=1.4")
    assert made.wanted(frozenset(made.pins)) == [
        "tensorflow==2.20.*",
        "keras==3.15.1",
        "numpy==2.4.6",
        "rich==15.0.0",
        "scikit-learn==1.9.1",
    ]
    assert made.wanted(frozenset({"keras"}))[1:3] == ["keras==3.15.1", "numpy>=1.26"]


def test_a_stack_without_tensorflow_has_the_one_that_is_here(installed: dict[str, str]) -> None:
    assert recipe("keras==3.12.*").pins["tensorflow"] == "2.21.0"
    assert recipe("jax", "jax").pins["tensorflow"] == "2.21.0"
    del installed["tensorflow"]
    assert not [text for text in recipe("jax", "jax").needed if "tensorflow" in text]
    assert "tensorflow>=2.18" in recipe("keras==3.12.*").needed


def test_a_backend_that_the_environment_chose_comes_along(installed: dict[str, str]) -> None:
    made = recipe("keras==3.12.*", "torch")
    assert made.needed[-1] == "torch"
    assert made.pins["torch"] == "2.13.0"


def test_a_nightly_build_replaces_the_release(installed: dict[str, str]) -> None:
    assert recipe("tf-nightly").needed == ("numpy>=1.26", "rich>=13", "scikit-learn>=1.4")


def test_without_metadata_of_bench_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    with pytest.raises(BenchError, match="keras-zoo-bench is not installed here: install it"):
        recipe("jax", "jax")


def test_the_folder_depends_on_all_that_is_installed(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = recipe("old: tensorflow==2.20.*").folder
    assert first.startswith("tensorflow-2-20-")
    assert recipe("tensorflow==2.20.*").folder == first
    assert recipe("tensorflow==2.21.*").folder != first
    installed["numpy"] = "2.4.7"
    assert recipe("tensorflow==2.20.*").folder != first
    installed["numpy"] = HERE["numpy"]
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    assert recipe("tensorflow==2.20.*").folder != first


# -------------------------------------------------------------------------------------- making


def test_it_is_made_once(installed: dict[str, str], settings: Settings) -> None:
    installer, wanted = Installer(), recipe("tensorflow==2.20.*")
    assert environments.found(wanted, settings) is None
    told: list[str] = []
    first = made_of(wanted, settings, told.append, installer)
    assert isinstance(first, Ready)
    assert (first.reused, first.dropped) == (False, ())
    assert first.packages["tensorflow"] == "2.20.9"
    assert first.packages["keras"] == "3.15.1"
    assert first.python.is_relative_to(environments.place(wanted, settings))
    assert first.python.exists()
    assert told == [
        "making an environment",
        "installing tensorflow==2.20.*, and what Bench needs",
    ]
    again = made_of(wanted, settings, told.append, installer)
    assert isinstance(again, Ready)
    assert (again.reused, again.age) == (True, "just now")
    assert (installer.made, len(told)) == (1, 2)
    assert again == environments.found(wanted, settings)


def test_half_of_one_is_made_again(installed: dict[str, str], settings: Settings) -> None:
    wanted = recipe("jax", "jax")
    folder = environments.place(wanted, settings)
    (folder / "lib" / "old").mkdir(parents=True)
    for damage in (
        lambda: None,
        lambda: (folder / "manifest.json").write_text("{"),
        lambda: next(folder.glob("*/bin/python")).unlink(),
    ):
        damage()
        installer = Installer()
        assert isinstance(made_of(wanted, settings, silent, installer), Ready)
        assert installer.made == 1
        assert not (folder / "lib" / "old").exists()


def test_a_failure_is_a_reason_and_leaves_nothing(
    installed: dict[str, str], settings: Settings
) -> None:
    wanted = recipe("tensorflow==9.9")
    installer = Installer(lambda _: "No matching distribution found for tensorflow==9.9")
    made = made_of(wanted, settings, silent, installer)
    assert made == NotMade("No matching distribution found for tensorflow==9.9")
    assert len(installer.asked) == 1  # no pin was in the way
    assert not environments.place(wanted, settings).exists()


def test_an_interruption_leaves_nothing(installed: dict[str, str], settings: Settings) -> None:
    def interrupted(_: object) -> str:
        raise KeyboardInterrupt

    wanted = recipe("jax", "jax")
    with pytest.raises(KeyboardInterrupt):
        made_of(wanted, settings, silent, Installer(interrupted))
    assert not environments.place(wanted, settings).exists()


def test_what_is_no_conflict_is_not_tried_with_fewer_pins(
    installed: dict[str, str], settings: Settings
) -> None:
    installer = Installer(lambda _: "no network")
    installer.unresolved = False
    assert made_of(recipe("jax", "jax"), settings, silent, installer) == NotMade("no network")
    assert len(installer.asked) == 1


@pytest.mark.parametrize(
    ("conflict", "tries", "dropped"),
    [
        (
            "rich==15.0.0",
            2,
            {
                "rich",
            },
        ),
        ("numpy==2.4.6", 3, {"numpy", "rich", "scikit-learn"}),
        ("keras==3.15.1", 4, {"keras", "numpy", "rich", "scikit-learn"}),
    ],
)
def test_as_many_pins_as_possible_are_kept(
    installed: dict[str, str],
    settings: Settings,
    conflict: str,
    tries: int,
    dropped: set[str],
) -> None:
    installer = Installer(lambda wanted: "conflict" if conflict in wanted else "")
    made = made_of(recipe("tensorflow==2.20.*"), settings, silent, installer)
    assert isinstance(made, Ready)
    assert len(installer.asked) == tries
    assert {text.split()[0] for text in made.dropped} == dropped
    assert f"{conflict.replace('==', ' ')} -> 1.0" in made.dropped


def test_a_conflict_without_any_pin_is_the_reason(
    installed: dict[str, str], settings: Settings
) -> None:
    installer = Installer(lambda _: "conflict")
    made = made_of(recipe("tensorflow==2.20.*"), settings, silent, installer)
    assert made == NotMade("conflict")
    assert len(installer.asked) == 4


def test_a_cache_that_cannot_be_written_is_a_reason(
    installed: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "cache").touch()
    settings = Settings(cache=tmp_path / "cache")
    made = made_of(recipe("jax", "jax"), settings, silent, Installer())
    assert isinstance(made, NotMade)
    assert "could not be written" in made.reason


def test_the_cache_lists_and_clears_environments_but_never_trims_them(
    installed: dict[str, str], settings: Settings
) -> None:
    small = settings.model_copy(update={"cache_bytes": 1})
    wanted = recipe("tensorflow==2.20.*")
    made_of(wanted, small, silent, Installer())
    with cache.building(small, "heads", {"n": 1}, "a head") as writer:
        assert writer is not None
        writer.put("x", [1.0])
    assert environments.found(wanted, small) is not None
    (entry,) = cache.entries(small, ["stacks"])
    assert (entry.name, entry.items) == ("tensorflow==2.20.*", 5)
    assert "stacks" not in {e.kind for e in cache.entries(small)}
    assert cache.clear(small, ["stacks"]) > 0
    assert environments.found(wanted, small) is None


# --------------------------------------------------------------------------- running in them


def test_every_stack_runs_one_copy_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    code = environments.code(tmp_path)
    assert [f.name for f in code.iterdir()] == ["bench"]
    assert not list(code.rglob("__pycache__"))
    (tmp_path / "bench.py").write_text("raise SystemExit('the folder where it was started')")
    environ = environments.environ(request_for("jax"), code)
    say = "import bench.running.messages as m; print(m.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", say],
        cwd=tmp_path,
        env=os.environ | environ,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == str(code / "bench" / "running" / "messages.py"), done.stderr


def test_variables_of_a_stack_and_what_it_inherits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/inherited")
    apart = environments.environ(request_for("jax A=1"), tmp_path)
    assert apart["A"] == "1"
    assert apart["PYTHONPATH"] == str(tmp_path)
    assert apart["PYTHONHOME"] == ""
    current = environments.environ(request_for("current A=1"), tmp_path)
    assert "PYTHONHOME" not in current
    assert current["PYTHONPATH"] == f"{tmp_path}{os.pathsep}/inherited"


def test_a_worker_starts_with_the_variables_of_its_stack(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAID", "by the user")
    setup = Setup(
        settings=settings,
        folder=tmp_path,
        scratch=tmp_path,
        execution=Execution(),
        environ={"SAID": "by the stack"},
    )
    script = "import os, sys; sys.exit('said ' + os.environ['SAID'])"
    with pytest.raises(WorkerError, match="said by the stack"):
        Worker(setup, (sys.executable, "-c", script)).wait()


def test_intermediate_work_is_apart_and_pictures_are_shared(settings: Settings) -> None:
    with environments.apart(settings) as one, environments.apart(settings) as other:
        assert len({one.cache, other.cache, settings.cache}) == 3
        (one.cache / "images" / "picture").touch()
        (one.cache / "heads").mkdir()
        assert (other.cache / "images" / "picture").exists()
        assert (settings.cache / "images" / "picture").exists()
        assert not (other.cache / "heads").exists()
        cache.clear(settings, folders.EVERY)  # leaves what is in use
        assert (one.cache / "heads").is_dir()
    assert (settings.cache / "images" / "picture").exists()
    assert list((settings.cache / "stacks").iterdir()) == []


def test_work_that_a_kill_left_behind_is_cleared(settings: Settings) -> None:
    with environments.apart(settings) as one:
        left = one.cache.name
    folder = settings.cache / "stacks" / left
    (folder / "heads").mkdir(parents=True)
    (folder / "images").symlink_to(settings.cache / "images")
    (settings.cache / "images" / "picture").touch()
    cache.clear(settings, ["stacks"])
    assert not folder.exists()
    assert (settings.cache / "images" / "picture").exists()


def test_one_at_a_time_builds(installed: dict[str, str], settings: Settings) -> None:
    wanted = recipe("jax", "jax")

    class Looking(Installer):
        def make(self, folder: Path) -> None:
            with pytest.raises(TimeoutError), FileLock(folders.lock(folder.parent), timeout=0):
                pass
            super().make(folder)

    assert isinstance(made_of(wanted, settings, silent, Looking()), Ready)


# ---------------------------------------------------------------------- in use, and made anew


def test_what_is_in_use_is_neither_cleared_nor_made_anew(
    installed: dict[str, str], settings: Settings
) -> None:
    wanted, installer = recipe("jax", "jax"), Installer()
    with ExitStack() as one, ExitStack() as other:
        for using in (one, other):  # together
            made = environments.made(wanted, settings, silent, using, installer)
            assert isinstance(made, Ready)
        one.close()
        assert cache.clear(settings, folders.EVERY) == 0
        assert environments.found(wanted, settings) is not None
        refused = made_of(wanted, settings, installer=installer, refresh=True)
        assert isinstance(refused, NotMade)
        assert "another run uses the environment" in refused.reason
    assert installer.made == 1
    assert cache.clear(settings, folders.EVERY) > 0
    assert environments.found(wanted, settings) is None


def test_what_is_made_anew_lies_elsewhere(installed: dict[str, str], settings: Settings) -> None:
    """So that what an installer writes that outlived its run gets into nobody's environment."""
    wanted = recipe("jax", "jax")
    first = made_of(wanted, settings)
    second = made_of(wanted, settings, refresh=True)
    assert isinstance(first, Ready)
    assert isinstance(second, Ready)
    assert first.python != second.python
    assert not first.python.exists()
    assert (second.reused, second.python.exists()) == (False, True)
    late = first.python.parent / "late"
    late.parent.mkdir(parents=True)
    late.touch()
    third = made_of(wanted, settings)
    assert isinstance(third, Ready)
    assert (third.reused, third.python) == (True, second.python)


@pytest.mark.parametrize(
    ("seconds", "age"),
    [(59, "just now"), (60, "1 minute ago"), (7300, "2 hours ago"), (90000, "1 day ago")],
)
def test_the_age_of_an_environment(seconds: int, age: str) -> None:
    created = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    assert Ready(Path(), {}, created=created).age == age


# ----------------------------------------------------------------------- indirect requirements


def test_what_requirements_need_in_turn_is_part_of_the_recipe(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = {
        recipes.DISTRIBUTION: ["keras>=3.6", "tensorflow>=2.18"],
        "tensorflow": ["ml_dtypes", "absent", "etils[path]", "keras"],
        "etils": ['zipp; extra == "path"', 'pytest; extra == "test"'],
    }
    installed |= {"ml-dtypes": "0.5.1", "etils": "1.9", "zipp": "3.2"}
    monkeypatch.setattr(metadata, "requires", lambda name: needs.get(name))
    made = recipe("tensorflow==2.20.*")
    assert made.pins == {"keras": "3.15.1"}
    assert made.indirect == {"etils": "1.9", "ml-dtypes": "0.5.1", "zipp": "3.2"}
    before = made.folder
    installed["zipp"] = "3.3"
    assert recipe("tensorflow==2.20.*").folder != before
    assert "ml-dtypes" not in recipe("tensorflow==2.20.* ml_dtypes==0.4").indirect


class Choosing(Installer):
    """Brings packages of its own choice along."""

    def install(self, folder: Path, requirements: Sequence[str]) -> None:
        super().install(folder, [*requirements, "board==9", "dtypes==9"])

    def replace(self, folder: Path, requirements: Sequence[str]) -> None:
        self.replaced += requirements
        site = folder / "lib" / "python3" / "site-packages"
        for text in requirements:
            name = text.partition("==")[0]
            shutil.rmtree(next(site.glob(f"{name}-*.dist-info")))
            super().install(folder, [text])


def test_what_nobody_named_is_as_it_is_here_where_it_can_be(
    installed: dict[str, str], settings: Settings
) -> None:
    wanted = recipe("tensorflow==2.20.*").model_copy(
        update={"indirect": {"board": "8", "dtypes": "8", "absent": "1"}}
    )
    installer, told = Choosing(), list[str]()
    real = installer.install

    def install(folder: Path, requirements: Sequence[str]) -> None:
        real(folder, requirements)
        info = next(folder.rglob("tensorflow-*.dist-info")) / "METADATA"
        info.write_text(info.read_text() + "Requires-Dist: board==9\n")

    installer.install = install  # type: ignore[method-assign]
    made = made_of(wanted, settings, told.append, installer)
    assert isinstance(made, Ready)
    assert installer.replaced == ["dtypes==8"]
    assert (made.packages["dtypes"], made.packages["board"]) == ("8", "9")
    assert made.dropped == ("board 8 -> 9",)
    assert told[-1] == "as they are here: dtypes 8"


def test_without_it_the_environment_is_used_all_the_same(
    installed: dict[str, str], settings: Settings
) -> None:
    installer, told = Choosing(), list[str]()
    installer.replace = Installer.replace.__get__(installer)  # type: ignore[method-assign]
    wanted = recipe("jax", "jax").model_copy(update={"indirect": {"board": "8"}})
    made = made_of(wanted, settings, told.append, installer)
    assert isinstance(made, Ready)
    assert made.dropped == ("board 8 -> 9",)
    assert told[-1] == "they stay as they were chosen (gone from the index)"
