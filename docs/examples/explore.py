# %% [markdown]
# # Your own look at results
#
# `bench.load` hands results over as pandas DataFrames: a line for each trial and seed, for each of
# their epochs, or for each measurement of cost. This file opens as a notebook in VS Code, and in
# Jupyter with jupytext; it also runs as a script. Put your own folder in place of `RESULTS`.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import seaborn as sns

import bench

ROOT = next(p for p in (Path.cwd(), *Path.cwd().parents) if (p / "results" / "reference").is_dir())
RESULTS = ROOT / "results" / "reference" / "real_small"
COSTS = ROOT / "results" / "reference" / "zoo_cost"

trials = bench.load(RESULTS)
print(trials[["backbone", "dataset", "freeze", "seed", "test_accuracy", "guards_failed"]].head())
print(trials.attrs["meaning"]["freeze_resolved"])

# %% [markdown]
# ## Seeds taken together
#
# `line` is equal for the seeds of one line of a table: one trial on one stack, on the same pictures
# and weights. (`group` is the trial alone, whatever ran it.) A deviation of two seeds says little:
# `bench show` and `bench compare` give intervals that hold the sampling of test pictures, too.

# %%
finished = trials[trials["status"] == "ok"].copy()
finished["val"] = finished["phase2_val_accuracy"].fillna(finished["phase1_val_accuracy"])
seeds = finished.groupby(["line", "dataset", "backbone", "freeze"], as_index=False).agg(
    val=("val", "mean"),
    accuracy=("test_accuracy", "mean"),
    deviation=("test_accuracy", "std"),
    seeds=("seed", "count"),
    trained=("phase2_trainable_parameters", "max"),
)
print(seeds.drop(columns="line").sort_values(["dataset", "accuracy"]).to_string(index=False))

# %% [markdown]
# ## What freezing does, dataset by dataset
#
# Every seed is a point. Datasets differ in difficulty, so each has an axis of its own.

# %%
freezes = sns.catplot(
    finished.sort_values("freeze"),
    x="test_accuracy",
    y="freeze",
    hue="backbone",
    col="dataset",
    kind="strip",
    dodge=True,
    jitter=False,
    sharex=False,
    height=3,
)
freezes.set_axis_labels("test accuracy", "")

# %% [markdown]
# ## Both phases, epoch by epoch
#
# Epochs go on counting from phase 1 into phase 2; the dotted line is where fine-tuning begins.

# %%
epochs = bench.load(RESULTS, "epochs")
curves = epochs[(epochs["dataset"] == "tf_flowers") & (epochs["freeze"] == "top_blocks=2")]
begins = curves.loc[curves["phase"] == 2, "epoch"].min()

figure, axes = plt.subplots(figsize=(6, 3.5))
sns.lineplot(
    curves, x="epoch", y="val_accuracy", hue="backbone", style="seed", markers=True, ax=axes
)
axes.axvline(begins - 0.5, linestyle=":", color="grey")
axes.set(title="tf_flowers, top_blocks=2", xlabel="epoch", ylabel="val accuracy")
sns.move_legend(axes, "upper left", bbox_to_anchor=(1, 1))
figure.tight_layout()

# %% [markdown]
# ## Accuracy beside cost
#
# Costs are measured apart (`bench measure`), so the two are joined by backbone. A left join keeps
# what was not measured; mind that these costs are of another image size than the trials. The best
# is chosen on val, so that its test accuracy is not the luckiest of several.

# %%
costs = bench.load(COSTS, "costs")
inference = costs[costs["workload"] == "inference"]
columns = ["backbone", "image_size", "latency_ms", "forward_macs", "doubtful"]
best = seeds.loc[seeds.groupby(["dataset", "backbone"])["val"].idxmax()]
joined = best.merge(
    inference[columns], on="backbone", how="left", validate="many_to_one", indicator="measured"
)
print(joined.drop(columns="line").to_string(index=False))

# %%
plt.show()
