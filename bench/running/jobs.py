"""What there is to hand out: the steps that trials share, and trials; which waits for which.

A job has a content key: equal work, equal key, one job. `bench.running.plan` names its steps by the
same keys. Nothing here measures or runs anything, and nothing needs Keras.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from bench import cache, steps
from bench.probes import ProbeSpec
from bench.records import Data, Dataset, SplitName, TrialSpec
from bench.running.messages import Share
from bench.steps import Ground, HeadStep, View
from bench.tasks import Spec

Work = Spec | Share
"""What a worker can be given to do."""


@dataclass(frozen=True)
class Job:
    """A piece of work that one worker does as a whole.

    Attributes:
        key: equal for equal work: 32 hex digits of a shared step, or a task's own key.
        work: what the worker is given.
        ground: what it shares with other jobs: a worker that did one of them does another sooner.
        after: keys of the jobs whose results it takes from the cache.
        gpu: whether a GPU would serve it.
    """

    key: str
    work: Work
    ground: Hashable
    after: tuple[str, ...] = ()
    gpu: bool = True

    @property
    def stage(self) -> str:
        """``images``, ``activations``, ``heads``; or ``task``, which comes to a row."""
        return self.work.stage if isinstance(self.work, Share) else "task"

    @property
    def label(self) -> str:
        """For people: the task's label, or what step on which ground."""
        if not isinstance(self.work, Share):
            return self.work.label
        spec, split, view = self.work.spec, self.work.split, self.work.view
        dataset = spec.data.dataset.name
        if self.stage == "images":
            return f"images of {dataset}"
        if self.stage == "heads":
            return f"heads of {spec.backbone.name} on {dataset}"
        shown = f" view {view.number}" if view else ""
        return f"activations of {spec.backbone.name} on {dataset} {split}{shown}"


# ------------------------------------------------------------------------------------------ keys


def images_key(dataset: Dataset, size: int) -> str:
    """Of a dataset's pictures, decoded at a size."""
    return cache.key({"images": dataset.model_dump(mode="json"), "size": size})


def pass_key(ground: Ground, split: SplitName, view: View | None) -> str:
    """Of one pass of a split, as a view shows it, through a ground's backbone."""
    about = {"split": split, "view": view.model_dump(mode="json") if view else None}
    return cache.key({"ground": _json(ground), **about})


def head_key(ground: Ground, head: HeadStep) -> str:
    """Of one head of phase 1."""
    return cache.key({"ground": _json(ground), "head": head.model_dump(mode="json")})


def stack_key(ground: Ground, head: HeadStep) -> str:
    """Of the heads of a ground that train together with this one."""
    return cache.key({"ground": _json(ground), "stack": head.stack})


def _json(ground: Ground) -> dict[str, object]:
    return ground.model_dump(mode="json", exclude_defaults=True)


# ------------------------------------------------------------------------------------------ jobs


def of(tasks: Sequence[Spec], literal: bool = False) -> tuple[Job, ...]:
    """The jobs that tasks come to, each after those that it waits for.

    What a phase might need only if an earlier one stops early is nobody's job: the trial that comes
    to need it does it, as in a run by one worker.

    Args:
        tasks: in the order to run, as far as nothing else decides it.
        literal: trials share nothing but pictures.
    """
    found: dict[str, Job] = {}
    for spec in tasks:
        for job in _of_task(spec, literal):
            found.setdefault(job.key, job)
    return tuple(found.values())


def _of_task(spec: Spec, literal: bool) -> Iterator[Job]:
    """A task's job, those that it waits for first."""
    if isinstance(spec, ProbeSpec):
        trial = spec.trials[0]
        yield (pictures := _images(trial))
        yield Job(spec.key, spec, steps.ground_of(trial), (pictures.key,))
    elif not isinstance(spec, TrialSpec):
        yield Job(spec.key, spec, spec.backbone.name)
    else:
        yield (pictures := _images(spec))
        shared = [] if literal or not steps.shares_phase1(spec) else list(_shared(spec, pictures))
        yield from shared
        after = (pictures.key, *(job.key for job in shared))
        yield Job(spec.key, spec, steps.ground_of(spec), after)


def _images(spec: TrialSpec) -> Job:
    data: Data = spec.data
    key = images_key(data.dataset, data.image_size)
    ground = ("images", data.dataset, data.image_size)
    return Job(key, Share(stage="images", spec=spec), ground, gpu=False)


def _shared(spec: TrialSpec, pictures: Job) -> Iterator[Job]:
    """Passes of the pictures, then heads, that a trial shares with others on its ground."""
    ground, wanted = steps.ground_of(spec), _certain(spec)
    passes = []
    for split, view in dict.fromkeys((n.split, n.view) for n in wanted):
        share = Share(stage="activations", spec=spec, split=split, view=view)
        job = Job(pass_key(ground, split, view), share, ground, (pictures.key,))
        yield job
        if split != "test" and steps.Need(split, view, "pooled") in wanted:
            passes.append(job.key)
    head = steps.head_step(spec)
    share = Share(stage="heads", spec=spec)
    yield Job(stack_key(ground, head), share, ground, (pictures.key, *passes))


def _certain(spec: TrialSpec) -> list[steps.Need]:
    """What a trial asks of the passes however its phases go."""
    planned = steps.needs(spec, steps.shares_phase2(spec))
    assert spec.phase1 is not None
    if spec.phase1.early_stopping is None:
        return planned
    first = steps.view_of(spec, 0)
    return [n for n in planned if n.split != "train" or n.view == first]
