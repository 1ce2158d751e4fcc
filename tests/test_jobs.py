"""The jobs of a suite against its plan: the same steps, by the same keys, each once."""

from collections import Counter
from pathlib import Path

import pytest
from conftest import make_probe, make_spec

from bench import suite as suites
from bench.costs import CostSpec
from bench.records import Backbone, TrialSpec
from bench.running import jobs, plan
from bench.running.jobs import Job
from bench.settings import Settings
from bench.suite import Suite

TEXT = """
description = "what trials share, and what they do not"
[data]
image_size = 96
{data}
[phase1]
epochs = 3
learning_rate = 1e-3
{phase1}
[phase2]
epochs = 2
learning_rate = 1e-5
[matrix]
backbones = ["MobileNetV2", "ResNet50"]
datasets = ["digits", "tf_flowers"]
freezes = ["head_only", {{ top_blocks = 1 }}, "all", "scratch"]
seeds = [0, 1, 2]
"""
AUGMENTED = 'augmentation = [{ flip = "horizontal" }]'


def loaded(folder: Path, data: str = "", phase1: str = "") -> Suite:
    file = folder / "shares.toml"
    file.write_text(TEXT.format(data=data, phase1=phase1))
    return suites.load(file)


def planned(suite: Suite, folder: Path) -> plan.Plan:
    return plan.of(suite, Settings(cache=folder / "cache"))


def of_stage(found: tuple[Job, ...], stage: str) -> list[Job]:
    return [job for job in found if job.stage == stage]


@pytest.mark.parametrize("data", ["", AUGMENTED, AUGMENTED + '\nviews = "per-seed"'])
def test_jobs_are_the_steps_of_the_plan(tmp_path: Path, data: str) -> None:
    suite = loaded(tmp_path, data)
    found, steps = jobs.of(suite.trials), planned(suite, tmp_path)
    for stage in ("images", "activations"):
        keys = [job.key for job in of_stage(found, stage)]
        assert sorted(keys) == sorted(s.key for s in steps.of_kind(stage)), stage  # type: ignore[arg-type]
    assert len(of_stage(found, "heads")) == steps.stacks > 0
    assert [job.work for job in of_stage(found, "task")] == list(suite.trials)


def test_every_job_comes_once_and_after_what_it_waits_for(tmp_path: Path) -> None:
    found = jobs.of(loaded(tmp_path, AUGMENTED).trials)
    seen: set[str] = set()
    for job in found:
        assert seen.issuperset(job.after), job.label
        assert job.key not in seen
        seen.add(job.key)


def test_a_trial_waits_for_what_it_would_look_up(tmp_path: Path) -> None:
    suite = loaded(tmp_path, AUGMENTED)
    by_key = {job.key: job for job in jobs.of(suite.trials)}
    for trial in suite.trials:
        stages = Counter(by_key[key].stage for key in by_key[trial.key].after)
        strategy = trial.freeze.strategy
        if strategy == "scratch":
            assert stages == {"images": 1}
            continue
        # Val, and three views for phase 1; test where no phase 2 changes what it is asked;
        # a frontier besides: test, and two views more.
        passes = {"head_only": 3 + 2, "all": 3 + 1, "top_blocks": 3 + 2 + 2}[strategy]
        assert stages == {"images": 1, "activations": passes, "heads": 1}, trial.label


def test_heads_wait_for_the_features_that_they_learn_from(tmp_path: Path) -> None:
    found = jobs.of(loaded(tmp_path, AUGMENTED).trials)
    by_key = {job.key: job for job in found}
    for job in of_stage(found, "heads"):
        what = job.label.removeprefix("heads of ")
        dataset = what.split(" on ")[1]
        passes = [f"activations of {what} train view {number}" for number in range(3)]
        expected = {f"images of {dataset}", f"activations of {what} val", *passes}
        assert {by_key[key].label for key in job.after} == expected


def test_what_an_early_stop_may_spare_is_nobodys_job(tmp_path: Path) -> None:
    stopping = "early_stopping = { patience = 1 }"
    found = jobs.of(loaded(tmp_path, AUGMENTED, stopping).trials)
    labels = {job.label for job in of_stage(found, "activations")}
    assert {label.split(" on ")[1] for label in labels} == {
        f"{dataset} {shown}"
        for dataset in ("digits", "tf_flowers")
        for shown in ("train view 0", "val", "test")
    }


def test_literal_trials_share_pictures_alone(tmp_path: Path) -> None:
    found = jobs.of(loaded(tmp_path).trials, literal=True)
    assert Counter(job.stage for job in found) == {"images": 2, "task": 48}


def test_only_pictures_need_no_gpu(tmp_path: Path) -> None:
    found = jobs.of(loaded(tmp_path).trials)
    assert {job.stage for job in found if not job.gpu} == {"images"}


def test_a_measurement_waits_for_nothing_and_stands_on_its_backbone() -> None:
    cost = CostSpec(backbone=Backbone(name="ResNet50"), workload="inference", image_size=96)
    (job,) = jobs.of([cost])
    assert (job.after, job.ground, job.key) == ((), "ResNet50", cost.key)


def test_a_probe_stands_on_the_ground_of_its_trials() -> None:
    probe = make_probe().spec
    images, job = jobs.of([probe])
    assert job.after == (images.key,)
    (trial,) = of_stage(jobs.of([probe.trials[0]]), "task")
    assert job.ground == trial.ground


def test_random_weights_differ_by_seed_and_so_does_what_comes_of_them() -> None:
    def random(seed: int) -> TrialSpec:
        weights = Backbone(name="MobileNetV2", weights="random")
        return make_spec(seed=seed).model_copy(update={"backbone": weights})

    one, other = jobs.of([random(0)]), jobs.of([random(1)])
    assert {job.key for job in one} & {job.key for job in other} == {of_stage(one, "images")[0].key}
