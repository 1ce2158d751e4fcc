"""What docs/regression.md tells people to type is what there is."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from bench import cli
from bench.analysis import margins

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "regression.md").read_text(encoding="utf-8")
WORKFLOW = (DOCS / "examples" / "tensorflow-regression.yml").read_text(encoding="utf-8")
MARGINS = DOCS / "examples" / "margins.toml"


def commands() -> list[str]:
    """Every line of `bench` in the page and in the workflow; both have it once."""
    joined = PAGE.replace("\\\n", " ")
    found = re.findall(r"(?m)^ +(?:- run: )?(bench [^`\n]*)", joined)
    return sorted({re.split(r" \|\| ", line)[0].strip() for line in found})


def test_examples_are_shown_as_they_are() -> None:
    shown = dict(re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL))
    assert shown == {"toml": MARGINS.read_text(encoding="utf-8"), "yaml": WORKFLOW}


def test_margins_load() -> None:
    rules = margins.load(MARGINS)
    assert rules.margins == margins.Margins()
    assert rules.gate == ("status", "guards", "parameters", "numerics", "accuracy")


@pytest.mark.parametrize("line", commands())
def test_a_command_and_its_options_exist(line: str) -> None:
    _, *words = shlex.split(line)
    command = typer.main.get_command(cli.app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert not hasattr(command, "commands"), f"{line}: no such command"
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_enough_commands_were_looked_at() -> None:
    kinds = {" ".join(line.split()[1:3]) for line in commands()}
    assert {"baseline save", "baseline list", "baseline check"} <= kinds
    assert {line.split()[1] for line in commands()} >= {"stacks", "compare", "run", "fingerprint"}


def test_the_workflow_holds_together() -> None:
    assert "\t" not in WORKFLOW
    indents = [len(line) - len(line.lstrip()) for line in WORKFLOW.splitlines()]
    assert not any(indent % 2 for indent in indents)
    jobs = re.findall(r"(?m)^  (\w+):$", WORKFLOW.partition("\njobs:\n")[2])
    assert jobs == ["release", "stacks", "baseline"]
    assert set(re.findall(r"needs: (\w+)|needs\.(\w+)\.", WORKFLOW)) <= {
        (job, "") for job in jobs
    } | {("", job) for job in jobs}
    steps = set(re.findall(r"\bid: (\w+)", WORKFLOW))
    assert set(re.findall(r"steps\.(\w+)\.", WORKFLOW)) == steps
    outputs = re.findall(r"(?m)^      (\w+): \$\{\{", WORKFLOW.partition("steps:")[0])
    assert set(re.findall(r"needs\.release\.outputs\.(\w+)", WORKFLOW)) == set(outputs)


def test_the_workflow_parses() -> None:
    yaml = pytest.importorskip("yaml")
    parsed = yaml.safe_load(WORKFLOW)
    assert {"name", "jobs", "env"} <= set(parsed)
    for job in parsed["jobs"].values():
        assert all({"uses", "run"} & set(step) for step in job["steps"])


def test_input_of_others_reaches_no_shell_as_source() -> None:
    scripts = re.findall(r"(?m)^( +)(?:- )?run: \|\n((?:\1 .*\n|\n)+)", WORKFLOW)
    scripts += re.findall(r"(?m)^( +- run: )([^|\n].*)$", WORKFLOW)
    assert len(scripts) >= 7
    assert not [script for _, script in scripts if "${{" in script]
