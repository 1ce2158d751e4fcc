"""The architecture, read off the source: who may import whom, and how large things may grow."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "bench"

# From the top. A module may import from its own layer's package, and from lower layers.
LAYERS = (
    ("cli", "__main__"),
    ("reporting",),
    ("analysis",),
    ("running",),
    ("measuring",),
    ("training",),
    ("sweep",),
    ("suite", "suite_file"),
    ("zoo", "data"),
    ("cache", "steps"),
    ("toml_file",),
    (
        "tasks",
        "numerics",
        "costs",
        "claims",
        "progress",
        "records",
        "errors",
        "settings",
        "strangers",
        "marks",
        "probes",
        "choices",
        "model_card",
    ),
)
DEPTH = {name: depth for depth, names in enumerate(LAYERS) for name in names}

# Modules of one layer that are no package of their own and yet stand on each other.
NEIGHBOURS = {
    ("__main__", "cli"),
    ("sweep",),
    ("suite", "suite_file"),
    ("costs", "records"),
    ("numerics", "records"),
    ("probes", "records"),
    ("choices", "probes"),
    ("choices", "records"),
    ("model_card", "records"),
    ("model_card", "errors"),
    ("progress", "records"),
    *(("tasks", kind) for kind in ("costs", "numerics", "probes", "records")),
    ("claims", "records"),
    ("claims", "errors"),
    ("settings", "records"),
    ("settings", "errors"),
}
# Though the layer is a lower one: a report is made on a laptop from results/ alone.
NEVER = {
    ("reporting", "training"),
    ("reporting", "measuring"),
    ("analysis", "training"),
    ("analysis", "measuring"),
}
FRAMEWORKS = {"keras", "tensorflow", "jax", "torch", "tensorflow_datasets", "sklearn"}
MAY_USE_FRAMEWORKS = {"zoo", "data", "training", "measuring"}
MAY_IMPORT_THEM_EARLY = {"training", "measuring"}
LONGEST_MODULE, LONGEST_FUNCTION = 400, 60


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {_name(p): ast.parse(p.read_text(encoding="utf-8")) for p in PACKAGE.rglob("*.py")}
LINES = {_name(p): len(p.read_text(encoding="utf-8").splitlines()) for p in PACKAGE.rglob("*.py")}
MODULES = sorted(TREES)


def _part(module: str) -> str:
    """``bench.zoo.heads`` -> ``zoo``; empty for ``bench`` itself."""
    return module.split(".")[1] if "." in module else ""


def _imports(tree: ast.AST) -> Iterator[str]:
    """Full names of what is imported, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in TREES else str(node.module)


def _ours(module: str) -> set[str]:
    return {name for name in _imports(TREES[module]) if name.split(".")[0] == "bench"}


def _foreign(tree: ast.AST) -> set[str]:
    return {name.split(".")[0] for name in _imports(tree)}


def _early(node: ast.AST) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        yield from _early(child)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_layer(module: str) -> None:
    assert module == "bench" or _part(module) in DEPTH


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downwards_only(module: str) -> None:
    here = _part(module)
    for imported in _ours(module):
        there = _part(imported)
        if there in ("", here):  # `from bench import __version__`, and one's own package
            continue
        below = DEPTH[there] > DEPTH.get(here, -1)
        assert below or (here, there) in NEIGHBOURS, f"{module} imports {imported}"
        assert (here, there) not in NEVER, f"{module} imports {imported}"


def test_the_package_itself_imports_one_thing_of_ours_and_that_late() -> None:
    assert _ours("bench") == {"bench.analysis.frames"}  # `bench.load`
    early = ast.Module(body=list(_early(TREES["bench"])), type_ignores=[])
    assert _foreign(early) == {"typing"}


def test_the_worker_is_the_one_place_of_running_that_reaches_training() -> None:
    # The seam: everything else in running speaks to a worker process, and needs no framework.
    reaching = {
        m
        for m in MODULES
        if _part(m) == "running" and any(_part(i) in ("training", "measuring") for i in _ours(m))
    }
    assert reaching == {"bench.running.worker"}


def test_no_import_cycles() -> None:
    graph = {m: {i for i in _ours(m) if i != "bench"} - {m} for m in MODULES}
    while free := {m for m, needed in graph.items() if not needed & graph.keys()}:
        for module in free:
            del graph[module]
    assert not graph, f"these import each other: {sorted(graph)}"


@pytest.mark.parametrize("module", [m for m in MODULES if _part(m) not in MAY_USE_FRAMEWORKS])
def test_frameworks_stay_where_models_and_pictures_are(module: str) -> None:
    assert not _foreign(TREES[module]) & FRAMEWORKS


@pytest.mark.parametrize("module", [m for m in MODULES if _part(m) not in MAY_IMPORT_THEM_EARLY])
def test_frameworks_are_imported_late(module: str) -> None:
    early = ast.Module(body=list(_early(TREES[module])), type_ignores=[])
    assert not _foreign(early) & FRAMEWORKS


@pytest.mark.parametrize("module", MODULES)
def test_modules_stay_readable(module: str) -> None:
    assert LINES[module] <= LONGEST_MODULE
    assert ast.get_docstring(TREES[module]), "a module says what it is for"


def _functions(module: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("module", MODULES)
def test_functions_stay_short(module: str) -> None:
    for function in _functions(module):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= LONGEST_FUNCTION, f"{module}.{function.name} has {length} lines"


@pytest.mark.parametrize("module", MODULES)
def test_every_argument_and_return_is_typed(module: str) -> None:
    for function in _functions(module):
        given = function.args
        arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs]
        arguments += [extra for extra in (given.vararg, given.kwarg) if extra]
        bare = [a.arg for a in arguments if not a.annotation and a.arg not in ("self", "cls")]
        assert not bare, f"{module}.{function.name}: {bare}"
        assert function.returns, f"{module}.{function.name} does not say what it returns"


def test_nothing_is_called_a_drawer() -> None:
    assert not [
        m for m in MODULES if m.rpartition(".")[2] in ("utils", "common", "helpers", "misc")
    ]


def test_only_the_command_line_exits() -> None:
    exits = {
        module
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "sys.exit"
    }
    assert exits <= {"bench.cli"}


def test_a_report_of_this_very_test_would_notice() -> None:
    # The walk sees late imports, names of modules, and skips what only type checkers read.
    tree = ast.parse(
        "from bench.zoo import heads\n"
        "if TYPE_CHECKING:\n    import torch\n"
        "def f():\n    import keras.ops\n"
    )
    assert set(_imports(tree)) == {"bench.zoo.heads", "torch", "keras.ops"}
    early = ast.Module(body=list(_early(tree)), type_ignores=[])
    assert _foreign(early) == {"bench"}
