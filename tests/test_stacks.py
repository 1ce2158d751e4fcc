"""Stacks as a user writes them."""

from pathlib import Path

import pytest
from conftest import STACK

from bench.errors import BenchError, StoreError
from bench.running import stacks
from bench.running.stacks import StackNote, StackRequest

OTHER = "other: current"


def parsed(text: str) -> StackRequest:
    return stacks.parse([text, OTHER])[0]


def refused(*texts: str) -> str:
    with pytest.raises(BenchError) as caught:
        stacks.parse(texts)
    return str(caught.value)


def test_a_requirement_is_a_stack() -> None:
    assert parsed("tensorflow==2.20.*") == StackRequest(
        name="tensorflow-2.20",
        requirements=("tensorflow==2.20.*",),
        backend="tensorflow",
        written="tensorflow==2.20.*",
    )


def test_everything_at_once() -> None:
    text = "old: tensorflow==2.20.* keras>=3.12,<3.14 TF_ENABLE_ONEDNN_OPTS=0 'XLA_FLAGS=--a --b'"
    request = parsed(text)
    assert request.name == "old"
    assert request.requirements == ("tensorflow==2.20.*", "keras<3.14,>=3.12")
    assert request.environ == {"TF_ENABLE_ONEDNN_OPTS": "0", "XLA_FLAGS": "--a --b"}
    assert request.written == text
    assert request.packages == {"tensorflow", "keras"}
    assert not request.is_current


@pytest.mark.parametrize("text", ["current", "x: current", "TF_ENABLE_ONEDNN_OPTS=0"])
def test_without_a_requirement_it_is_what_is_installed_here(text: str) -> None:
    request = parsed(text)
    assert request.is_current
    assert request.backend is None


@pytest.mark.parametrize(
    ("text", "backend", "requirements"),
    [
        ("backend=jax", "jax", ("jax",)),
        ("KERAS_BACKEND=torch", "torch", ("torch",)),
        ("backend=jax jax==0.10.*", "jax", ("jax==0.10.*",)),
        ("backend=jax tensorflow==2.20.*", "jax", ("tensorflow==2.20.*", "jax")),
        ("current backend=jax", "jax", ()),
        ("backend=tensorflow", "tensorflow", ()),
        ("jax==0.10.*", "jax", ("jax==0.10.*",)),
        ("tf-nightly", "tensorflow", ("tf-nightly",)),
        ("keras==3.12.*", None, ("keras==3.12.*",)),
        ("jax torch", None, ("jax", "torch")),
    ],
)
def test_the_backend_and_its_package(
    text: str, backend: str | None, requirements: tuple[str, ...]
) -> None:
    request = parsed(text)
    assert (request.backend, request.requirements) == (backend, requirements)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("tensorflow==2.20.* keras==3.12.*", "tensorflow-2.20_keras-3.12"),
        ("keras>=3.12", "keras-from-3.12"),
        ("keras<3.12", "keras-below-3.12"),
        ("backend=jax", "jax"),
        ("TF_ENABLE_ONEDNN_OPTS=0", "TF_ENABLE_ONEDNN_OPTS-0"),
        ("keras@git+https://example.org/keras", "keras-git-https-example.org-keras"),
        ("current backend=torch", "current_torch"),
        ("'XLA_FLAGS=" + 100 * "a" + "'", "XLA_FLAGS-" + 50 * "a"),
    ],
)
def test_names_say_what_a_stack_is(text: str, name: str) -> None:
    assert parsed(text).name == name


def test_nightlies_stand_for_what_they_bring() -> None:
    assert parsed("tf-nightly").packages == {"tf-nightly", "tensorflow", "keras"}
    assert parsed("Keras_Nightly").packages == {"keras-nightly", "keras"}


def test_equal_stacks_are_told_apart_by_letters() -> None:
    names = [s.name for s in stacks.parse(["keras jax", "jax", "keras  jax", "x: jax", "x: jax"])]
    assert names == ["keras_jax-a", "jax", "keras_jax-b", "x-a", "x-b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected words: a requirement like tensorflow==2.20.*"),
        ("old:", "expected words"),
        ("tensorflow == 2.20", "'==': expected a requirement like tensorflow==2.20.*"),
        ("tensorflow=2.20", "'tensorflow=2.20': expected a variable in capitals"),
        ("tensorflow==two", "'tensorflow==two': expected a requirement"),
        ("./keras", "'./keras': expected a requirement"),
        ("backend=jaxx", "expected one of tensorflow, jax, torch; did you mean jax?"),
        ("backend=jax KERAS_BACKEND=torch", "one backend; jax is named already"),
        ("keras==3.12 Keras==3.13", "each package once; keras is named already"),
        ("A=1 A=2", "each variable once; A is set already"),
        ("BENCH_CACHE_DIR=x", "expected a variable of a framework"),
        ("PYTHONPATH=x", "expected a variable of a framework"),
        ("current keras==3.12", "'keras==3.12': expected no requirement beside 'current'"),
        ("keras-zoo-bench==0.1", "expected a package that Bench measures"),
        ("keras@https://me:secret@example.org/k.whl", "an address without a user or password"),
        ("a/b: keras", "'a/b': expected a name of letters"),
        ("..: keras", "expected a name of letters"),
        ("XLA_FLAGS='--a", "expected quotes that are closed"),
    ],
)
def test_what_is_no_stack_is_refused(text: str, said: str) -> None:
    message = refused(text, OTHER)
    assert message.startswith(f"--stack {text!r}: ")
    assert said in message


def test_different_stacks_of_one_name_are_refused() -> None:
    message = refused("x: keras==3.12.*", "X: keras==3.13.*")
    assert "'X: keras==3.13.*': expected a name that differs from that of 'x: keras==3.12.*'" in (
        message
    )
    assert "'other: keras==3.13.*'" in message
    assert "'jax-a'" in refused("jax", "jax", "jax-a: keras")


def test_one_stack_is_nothing_to_compare() -> None:
    assert "given once: expected 2 to 26" in refused("jax")
    assert "given 27 times" in refused(*["jax"] * 27)


def test_a_note_is_kept_and_read(tmp_path: Path) -> None:
    note = StackNote(
        request=parsed("tensorflow==2.20.*"),
        status="ok",
        python="3.11.1",
        packages={"keras": "3.15.1"},
        dropped=("numpy 2.4.6 -> 2.0.2",),
        stack=STACK,
    )
    assert stacks.read(tmp_path / "s") is None
    stacks.write(tmp_path / "s", note)
    assert stacks.read(tmp_path / "s") == note
    assert [f.name for f in (tmp_path / "s").iterdir()] == ["stack.json"]
    (tmp_path / "s" / "stack.json").write_text("{")
    assert stacks.read(tmp_path / "s") is None
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        stacks.write(tmp_path / "file", note)


@pytest.mark.parametrize(
    ("text", "floating"),
    [
        ("keras==3.12.1", False),
        ("keras===3.12.1 jax==0.10.2", False),
        ("keras==3.12.*", True),
        ("keras==3.12.1 jax", True),
        ("tf-nightly", True),
        ("keras>=3,<3.12", True),
        ("keras@https://example.org/k.whl", True),
        ("current", False),
    ],
)
def test_what_may_be_another_version_tomorrow(text: str, floating: bool) -> None:
    assert parsed(text).floating is floating


@pytest.mark.parametrize("name", ["HF_TOKEN", "API_KEY", "MY_SECRET_1", "DB_PASSWORD"])
def test_secrets_reach_workers_and_nothing_else(name: str) -> None:
    request = parsed(f"x: keras==3.12 A=1 {name}='a b'")
    assert request.environ == {"A": "1", name: "a b"}
    assert request.shown == {"A": "1", name: "***"}
    assert request.secrets == {"a b"}
    assert request.written == f"x: keras==3.12 A=1 {name}=***"
    assert parsed(f"{name}=hush").name == name


@pytest.mark.parametrize("text", ["baselines: keras", "Baselines: current", "baselines"])
def test_a_name_whose_rows_nobody_would_read_is_refused(text: str) -> None:
    assert "baselines are kept there" in refused(text, OTHER)


def test_rows_know_their_stack_by_its_note(tmp_path: Path) -> None:
    file = tmp_path / "old" / STACK.id / "trials.jsonl"
    assert stacks.holder(file) is None
    stacks.write(tmp_path / "old", StackNote(request=parsed("keras"), status="ok", python="3"))
    assert stacks.holder(file) == tmp_path / "old"
    assert stacks.holder(tmp_path / "other" / STACK.id / "trials.jsonl") is None


def test_folders_of_a_machine_are_masked() -> None:
    assert stacks.masked("no /a/b/c here", {"/a/b": "<X>"}) == "no <X>/c here"
