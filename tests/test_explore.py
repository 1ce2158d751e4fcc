"""The example notebook: it runs, and what it shows is what the store says."""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from bench.running import store

EXAMPLE = ROOT / "docs" / "examples" / "explore.py"


@pytest.fixture(scope="module")
def ran() -> Iterator[dict[str, object]]:
    """Every name that the notebook leaves, run from the folder that it lies in."""
    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(EXAMPLE.parent)
        yield runpy.run_path(str(EXAMPLE))
    plt.close("all")
    matplotlib.use(before)


def frame(ran: dict[str, object], name: str) -> pd.DataFrame:
    found = ran[name]
    assert isinstance(found, pd.DataFrame)
    return found


def test_seeds_are_averaged_as_the_store_has_them(ran: dict[str, object]) -> None:
    rows = store.read(ROOT / "results" / "reference" / "real_small").rows
    seeds = frame(ran, "seeds")
    assert len(seeds) == 24
    assert set(seeds["seeds"]) == {2}
    for line in seeds.itertuples():
        named = (line.dataset, line.backbone, line.freeze)
        of = [
            r.test_accuracy
            for r in rows
            if (r.spec.data.dataset.name, r.spec.backbone.name, r.spec.freeze.label) == named
        ]
        assert len(of) == 2
        assert line.accuracy == pytest.approx(np.mean(of))


def test_costs_stand_beside_the_best_of_each_backbone(ran: dict[str, object]) -> None:
    joined = frame(ran, "joined")
    assert len(joined) == 6
    measured = joined[joined["measured"] == "both"]
    assert set(measured["backbone"]) == {"MobileNetV2"}
    assert (measured["latency_ms"] > 0).all()
    assert joined.loc[joined["measured"] == "left_only", "latency_ms"].isna().all()
    chosen = frame(ran, "seeds").groupby(["dataset", "backbone"])["val"].max()
    assert sorted(joined["val"]) == sorted(chosen)


def test_plots_show_every_trial_and_where_fine_tuning_begins(ran: dict[str, object]) -> None:
    freezes, axes = ran["freezes"], ran["axes"]
    shown = [c.get_offsets() for a in freezes.axes.flat for c in a.collections]  # type: ignore[attr-defined]
    assert sum(map(len, shown)) == len(frame(ran, "finished")) == 48
    curves = frame(ran, "curves")
    last = curves.loc[curves["phase"] == 1, "epoch"].max()
    dotted = [line for line in axes.lines if line.get_linestyle() == ":"]  # type: ignore[attr-defined]
    assert list(dotted[0].get_xdata()) == [last + 0.5] * 2


def test_it_opens_as_a_notebook() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert text.startswith("# %% [markdown]\n# # ")
    cells = re.split(r"^# %%(.*)\n", text, flags=re.MULTILINE)[1:]
    kinds = [kind.strip() for kind in cells[::2]]
    assert set(kinds) == {"", "[markdown]"}
    for kind, content in zip(kinds, cells[1::2], strict=True):
        lines = [line for line in content.splitlines() if line]
        assert lines
        assert all(line.startswith("#") for line in lines) == (kind == "[markdown]")


def test_it_says_only_paths_of_the_repository() -> None:
    assert not re.search(r"[\"'](/|[A-Z]:)", EXAMPLE.read_text(encoding="utf-8"))
    assert Path(EXAMPLE).suffix == ".py"
