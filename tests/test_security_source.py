"""What must stand nowhere in the package: calls that run, unpickle or unpack what is read."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bench"
TREES = {p: ast.parse(p.read_text(encoding="utf-8")) for p in sorted(PACKAGE.rglob("*.py"))}

MODULES = {
    *("marshal", "shelve", "dill", "joblib", "cloudpickle", "tarfile", "yaml", "telnetlib"),
    *("ftplib", "pty", "code", "codeop", "runpy", "xmlrpc"),
    *("ssl", "http", "requests", "httpx", "aiohttp", "smtplib"),
}
"""That no module imports."""
PICKLE_AT = "bench/zoo/torch_pickle.py"
NETWORK = {
    # Asks whether there is a network.
    "bench/data/tfds_reader.py": {"socket.getaddrinfo", "urllib.request.getproxies"},
    # Asks whether anybody is at the address that the user named.
    "bench/running/ray_cluster.py": {"socket.create_connection"},
    # Takes addresses apart, and connects to none.
    "bench/settings.py": set[str](),
    # Copies files from the store that the user named, by fsspec.
    "bench/cache/shared.py": {"files.get_file"},
}
"""The modules that have to do with addresses, and all that they call for it."""
NAMES = {"eval", "exec", "compile", "__import__", "input", "breakpoint"}
"""Of builtins, that are never called."""
METHODS = {
    *(
        "system",
        "popen",
        "extractall",
        "unpack_archive",
        "read_pickle",
        "to_pickle",
        "loads_pickle",
    ),
    *("enable_unsafe_deserialization", "func_load", "get_file", "urlopen", "urlretrieve"),
}
"""That are never called, of whatever."""


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call with the last part of the name that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            yield (called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)), node


def keyword(call: ast.Call, name: str) -> object:
    """A literal argument; None where there is none."""
    for given in call.keywords:
        if given.arg == name and isinstance(given.value, ast.Constant):
            return given.value.value
    return None


def offences(tree: ast.AST, where: str) -> Iterator[str]:
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            top = name.split(".")[0]
            if top in MODULES or (top in ("pickle", "_pickle") and where != PICKLE_AT):
                yield f"imports {name}"
            if top in ("socket", "urllib") and where not in NETWORK:
                yield f"imports {name}"
    for name, call in calls(tree):
        of = ast.unparse(call.func)
        allowed = NETWORK.get(where, set())
        if of in NAMES or (name in METHODS and of != "platform.system" and of not in allowed):
            yield f"calls {of}"
        if of.split(".")[0] in ("socket", "urllib") and of not in allowed:
            yield f"calls {of}"
        if of in ("np.load", "numpy.load") and keyword(call, "allow_pickle") is not False:
            yield "np.load without allow_pickle=False"
        if name == "load_model" and keyword(call, "safe_mode") is not True:
            yield "load_model without safe_mode=True"
        if keyword(call, "shell") is True:
            yield "a shell"
        if keyword(call, "safe_mode") is False or keyword(call, "allow_pickle") is True:
            yield f"{of} without its guard"
        if of in ("pickle.load", "pickle.loads", "pickle.Unpickler", "torch.load"):
            yield f"calls {of}"
        if name == "extract" and "archive" in of:
            yield f"calls {of}"


@pytest.mark.parametrize("path", TREES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_nothing_that_is_read_is_run_unpickled_or_unpacked(path: Path) -> None:
    where = path.relative_to(PACKAGE.parent).as_posix()
    assert list(offences(TREES[path], where)) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import tarfile",
        "import yaml",
        "import socket",
        "from urllib.request import urlretrieve",
        "socket.create_connection(('x', 1))",
        "eval('1')",
        "exec('1')",
        "import os\nos.system('x')",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "np.load(f, mmap_mode='r')",
        "keras.models.load_model(p)",
        "keras.models.load_model(p, safe_mode=False)",
        "subprocess.run('x', shell=True)",
        "archive.extractall(p)",
        "archive.extract('a')",
        "pickle.loads(b'')",
        "torch.load(p)",
    ],
)
def test_the_test_above_would_notice(text: str) -> None:
    assert list(offences(ast.parse(text), "bench/other.py"))


def test_the_page_about_security_names_tests_that_are_there() -> None:
    text = (PACKAGE.parent / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:test_)?[a-z_]+(?:\.py|/))`", text)
    assert len(set(named)) >= 10
    assert not [name for name in named if not (Path(__file__).parent / name).exists()]


def test_every_template_of_the_page_escapes() -> None:
    texts = [p.read_text(encoding="utf-8") for p in PACKAGE.rglob("*.html")]
    assert len(texts) > 5
    assert not [t for t in texts if "|safe" in t.replace(" ", "") or "autoescape false" in t]
