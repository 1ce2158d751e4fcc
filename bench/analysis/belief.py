"""What is believed of each candidate's accuracy: draws, from which every probability is counted.

A model in which everything adds up. A candidate's true accuracy, over pictures like these and seeds
like these, is

    angle(accuracy) = task + backbone + strategy + its own

where the angle is the arcsine of the square root, which makes sampling errors of low and high
accuracies alike (Anscombe 1948), and a sampled accuracy of 1 harmless. A probe of its backbone is
what the head alone comes to there, plus what all probes of the question differ by (they learn from
fewer pictures), plus what this one does. Each part is drawn from a normal distribution around 0
(the task's and the probes' around a stated mean). So what was not tried is believed to be about
what its backbone and its strategy were elsewhere, and close results are drawn together, as the best
of many lucky ones should be (Efron and Morris 1975). How large the parts are is itself not known:
many sizes are drawn from what is assumed of them, and each counts as much as it explains what was
seen (importance sampling; Gelman et al. 2013, Bayesian Data Analysis, chapters 5 and 10).

What was seen misses the truth in two ways:

* Pictures are a sample. All candidates saw the same val pictures, so their errors go together: the
  covariance of their mean answers, picture by picture. That is what one vector of Bayesian
  bootstrap weights for all candidates (Rubin 1981) comes to, but for its shape. Half a right and
  half a wrong picture of its own for every candidate keep one that has all pictures right, or
  differs from another in a single one, from being certain.
* Seeds are a sample. A seed moves all pictures together, by a variance of ``spread`` times
  accuracy x (1 - accuracy). Candidates have spreads of their own around one that they have in
  common, heads alone apart from the rest, which vary more. These are drawn from their distribution
  given how much the means of the seeds vary beyond what single pictures explain. With one seed the
  spread is as assumed, or as the others show.

Left out, on the safe side: that strategies with one seed share the head of phase 1, so that their
luck goes together. Left out, on the other: that probes may see some of the val pictures, so that
they confirm what they should not; they count for little once there are trials.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bench.analysis.stats import check_level
from bench.errors import BenchError
from bench.marks import Correct

Floats = NDArray[np.float64]

Draws = NDArray[np.float64]
"""(draws, candidates): each line is one way things may be, accuracy 0 to 1 of every candidate."""

SPREAD, SPREAD_APART, SPREADS_APART = 2e-4, 1.5, 1.2
"""Assumed of the spread over seeds: its middle value; and, as standard deviations of its logarithm,
how far a question may be from that, and a candidate from its question. In the mean this is a
standard deviation over seeds of 1.2 points at an accuracy of 0.86, as `accuracy_stats.TOGETHER`
has it, and meant to be too large like that. Fitted to 16 pretrained groups of the reference results
(2 to 20 seeds), the middle is 5e-5 to 1e-4 and all deviations together 2 to 2.5, so that the mean
is about the same, but rests on a few trials that vary much."""

SPREAD_LEAST, SPREAD_MOST = 2e-5, 0.2
"""No spread is believed to be beyond these: 0.15 and 15 points at 0.86. The least holds where many
seeds agree by luck."""

TASK, TASK_APART = 1.15, 0.3
"""Angle of what nothing is known of: accuracy 0.83, and with 95% between 0.3 and 1."""

PROBES, PROBES_APART = -0.035, 0.05
"""Angle of what probes come to, less that of trials of the head alone: 2.5 points lower at 0.86,
give or take seven (95%). They learn from fewer pictures; how many fewer is not asked."""

BACKBONES, STRATEGIES, OWN, PROBE = 0.04, 0.025, 0.01, 0.015
"""Standard deviations of angles: between backbones, between strategies, of what a candidate has to
itself, and of what a probe has. Middle values; 0.01 is 0.7 points at an accuracy of 0.86. Of the
order that two backbones on three datasets have in the reference results; settled on simulated
answers."""

SIZES_APART = 1.0
"""How far each of these may be off: standard deviation of its logarithm. 95% within a factor of
seven: two backbones may be half a point apart or twenty."""

ALIKE = 0.5
"""Correlation between what two strategies add that both train some of a pretrained backbone: where
one gains on the head alone, another is likely to."""

SIZES, BLOCKS = 2_000, 40
"""How many sets of sizes are drawn and weighed, and in how many parts: memory is that of one."""

_HEAD = "head_only"
_ALONE = (_HEAD, "scratch")
"""Strategies that are like no other."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of a candidate.

    Attributes:
        backbone: candidates of one backbone share its probe, and their luck with it.
        strategy: label of its freeze strategy; what one adds is expected of other backbones, too.
            ``head_only`` is what the probe of its backbone is a guess at.
        val: bool (seeds, pictures) of its finished trials, None where there is none. The same
            pictures in the same order for every candidate.
        probe: bool (seeds, pictures) of its backbone's linear probe on val, None where there is
            none; other pictures than ``val``'s, perhaps, and fewer to learn from. The same ones
            for every backbone.
    """

    backbone: str
    strategy: str
    val: Correct | None
    probe: Correct | None


def believe(seen: Sequence[Seen], draws: int = 4000, seed: int = 0) -> Draws:
    """Draw from what is believed of all candidates together.

    Args:
        seen: a candidate each; at least one.
        draws: how many.
        seed: of the random numbers: the same evidence gives the same draws.

    Raises:
        BenchError: there is no candidate, or answers have an unexpected shape.
    """
    if not seen:
        raise BenchError("no candidates: expected at least one")
    if draws < 1:
        raise BenchError(f"{draws} draws: expected at least one")
    rng = np.random.default_rng(seed)
    evidence = _evidence(seen)
    parts = _parts(seen, evidence.backbones)
    sizes = _sizes(rng)
    spreads = _spreads(evidence, rng)
    blocks = zip(np.split(sizes, BLOCKS), np.split(spreads, BLOCKS), strict=True)
    weights = special.softmax([_likelihood(evidence, _Normal(parts, s), t) for s, t in blocks])
    times = rng.multinomial(draws, weights.ravel())
    drawn = [
        _drawn(evidence, _Normal(parts, sizes[i]), spreads[i], int(times[i]), len(seen), rng)
        for i in np.flatnonzero(times)
    ]
    return _accuracy(rng.permutation(np.concatenate(drawn)))


def best(draws: Draws) -> Floats:
    """Probability of each candidate that none is better; those that tie share it.

    Args:
        draws: (draws, candidates).
    """
    first = draws == draws.max(axis=1, keepdims=True)
    return np.asarray((first / first.sum(axis=1, keepdims=True)).mean(axis=0))


def close(draws: Draws, margin: float) -> Floats:
    """Probability of each candidate that the best is at most so much better.

    Args:
        draws: (draws, candidates).
        margin: accuracy, 0 to 1.
    """
    return np.asarray((draws >= draws.max(axis=1, keepdims=True) - margin).mean(axis=0))


def interval(draws: Draws, level: float = 0.95) -> tuple[tuple[float, float, float], ...]:
    """Expected accuracy of each candidate, and what it lies between.

    Args:
        draws: (draws, candidates).
        level: probability that it does; as much is left out on either side.

    Raises:
        BenchError: the level is no share.
    """
    check_level(level)
    low, high = np.quantile(draws, ((1 - level) / 2, (1 + level) / 2), axis=0)
    middle = draws.mean(axis=0)
    return tuple(zip(middle.tolist(), low.tolist(), high.tolist(), strict=True))


# ------------------------------------------------------------------------------------ what was seen


@dataclass(frozen=True, eq=False)
class _Evidence:
    """What was measured, in angles. Things are the candidates, then the probes.

    Attributes:
        backbones: of the probes.
        which: (measured,) indices of things.
        angles: (measured,) of mean answers.
        pictures: (measured, measured) covariance, sampling of pictures.
        per_spread: (measured,) variance of the mean over seeds, for a spread of 1.
        between: (measured,) variance of single seeds' means, as a share of accuracy x (1 -
            accuracy): what a spread is to explain.
        residual: (measured,) what single pictures explain of that.
        freedom: (measured,) degrees of freedom; 0 with one seed.
        head: (measured,) whether nothing but a head was trained.
    """

    backbones: tuple[str, ...]
    which: NDArray[np.int_]
    angles: Floats
    pictures: Floats
    per_spread: Floats
    between: Floats
    residual: Floats
    freedom: Floats
    head: Correct


def _evidence(seen: Sequence[Seen]) -> _Evidence:
    tried = {i: s.val for i, s in enumerate(seen) if s.val is not None}
    probes: dict[str, Correct] = {}
    for s in seen:
        if s.probe is not None:
            probes.setdefault(s.backbone, s.probe)
    probed = {len(seen) + i: probe for i, probe in enumerate(probes.values())}
    _check(list(tried.values()), "val")
    _check(list(probed.values()), "probe")
    answers = [*tried.values(), *probed.values()]
    told = np.array([_told(a) for a in answers]).reshape(-1, 6)
    pictures = np.zeros((len(answers),) * 2)
    pictures[: len(tried), : len(tried)] = _covariance(answers[: len(tried)])
    pictures[len(tried) :, len(tried) :] = _covariance(answers[len(tried) :])
    slope = told[:, 1]
    which = [*tried, *probed]
    return _Evidence(
        backbones=tuple(probes),
        which=np.array(which, int),
        angles=told[:, 0],
        pictures=pictures * np.outer(slope, slope),
        per_spread=told[:, 2],
        between=told[:, 3],
        residual=told[:, 4],
        freedom=told[:, 5],
        head=np.array([i >= len(seen) or seen[i].strategy == _HEAD for i in which], bool),
    )


def _check(answers: Sequence[Correct], name: str) -> None:
    for a in answers:
        if a.dtype != np.bool_ or a.ndim != 2 or a.size == 0:
            raise BenchError(
                f"{name}: {a.dtype} of shape {a.shape}: expected bool (seeds, pictures), "
                "at least one of each"
            )
        if a.shape[1] != answers[0].shape[1]:
            raise BenchError(
                f"{name}: {a.shape[1]} pictures of one, {answers[0].shape[1]} of another: expected "
                "the same pictures of all"
            )


def _told(answers: Correct) -> tuple[float, ...]:
    """Of one thing: angle, its slope, and the last four attributes of `_Evidence`."""
    seeds, pictures = answers.shape
    p = (float(answers.mean()) * pictures + 0.5) / (pictures + 1)
    each = p * (1 - p)
    angle, slope = float(np.arcsin(np.sqrt(p))), 0.5 / np.sqrt(each)
    if seeds == 1:
        return angle, slope, 0.25, 0.0, 0.0, 0.0
    cells = answers.astype(np.float64)
    means = cells.mean(axis=1)
    alone = cells - cells.mean(axis=0) - means[:, None] + cells.mean()
    freedom = seeds - 1
    residual = float((alone**2).sum()) / (freedom * pictures) / pictures + 0.5 / pictures**2
    between = float(means.var(ddof=1))
    return angle, slope, 0.25 / seeds, between / each, residual / each, float(freedom)


def _accuracy(angles: Floats) -> Floats:
    return np.asarray(np.sin(np.clip(angles, 0, np.pi / 2)) ** 2)


def _covariance(answers: Sequence[Correct]) -> Floats:
    """Of mean accuracies, as far as pictures are a sample."""
    if not answers:
        return np.zeros((0, 0))
    means = np.stack([a.mean(axis=0) for a in answers])
    pictures = means.shape[1]
    means -= means.mean(axis=1, keepdims=True)
    own = 0.5 * np.eye(len(means))
    return np.asarray((means @ means.T + own) / pictures**2)


# --------------------------------------------------------------------------------- what is believed


def _parts(seen: Sequence[Seen], probed: Sequence[str]) -> Floats:
    """(parts, things, things): who shares what. Task, backbone, strategy, own, probes, probe."""
    backbones = np.array([*(s.backbone for s in seen), *probed])
    strategies = [*(s.strategy for s in seen), *(_HEAD for _ in probed)]
    probe = np.arange(len(backbones)) >= len(seen)
    identity = np.eye(len(backbones))
    together = backbones[:, None] == backbones
    own = identity.copy()
    for thing in np.flatnonzero(probe):  # what its backbone's head alone has to itself
        heads = [
            i for i, s in enumerate(seen) if (s.backbone, s.strategy) == (backbones[thing], _HEAD)
        ]
        own[thing] = identity[heads[0]] if heads else identity[thing]
    return np.stack(
        [
            np.ones_like(identity),
            together,
            np.array([[_likeness(a, b) for b in strategies] for a in strategies]),
            own @ own.T,
            np.outer(probe, probe),
            identity * probe,
        ]
    )


def _likeness(one: str, other: str) -> float:
    if one == other:
        return 1.0
    return 0.0 if one in _ALONE or other in _ALONE else ALIKE


def _sizes(rng: np.random.Generator) -> Floats:
    """(`SIZES`, parts) variances."""
    middle = np.log([TASK_APART, BACKBONES, STRATEGIES, OWN, PROBES_APART, PROBE])
    apart = SIZES_APART * np.array([0, 1, 1, 1, 0, 1])
    return np.exp(2 * (middle + apart * rng.standard_normal((SIZES, len(middle)))))


def _spreads(evidence: _Evidence, rng: np.random.Generator) -> Floats:
    """(`SIZES`, measured) spreads over seeds, given how the means of the seeds vary."""
    grid = np.linspace(np.log(SPREAD_LEAST), np.log(SPREAD_MOST), 61)
    explained = np.exp(grid) + evidence.residual[:, None]
    fit = np.log(explained) + evidence.between[:, None] / explained
    fit *= -evidence.freedom[:, None] / 2
    own = np.exp(fit - fit.max(axis=1, keepdims=True, initial=-np.inf))
    around = np.exp(-(((grid - grid[:, None]) / SPREADS_APART) ** 2) / 2)
    around /= around.sum(axis=1, keepdims=True)
    prior = -(((grid - np.log(SPREAD)) / SPREAD_APART) ** 2) / 2
    found = np.empty((SIZES, len(own)))
    for kind in (evidence.head, ~evidence.head):
        likely = np.log(own[kind] @ around.T).sum(axis=0)
        centre = rng.choice(len(grid), SIZES, p=special.softmax(prior + likely))
        for i in np.flatnonzero(kind):
            upto = np.cumsum(around * own[i], axis=1)[centre]
            at = (upto < rng.random((SIZES, 1)) * upto[:, -1:]).sum(axis=1)
            found[:, i] = np.exp(grid[at])
    return found


class _Normal:
    """Mean (things,) and covariance (..., things, things), before anything was seen.

    Args:
        parts: who shares what.
        sizes: (..., parts) variances.
    """

    def __init__(self, parts: Floats, sizes: Floats) -> None:
        self.covariance = np.tensordot(sizes, parts, 1)
        self.mean = TASK + PROBES * parts[-1].diagonal()


def _seen_covariance(evidence: _Evidence, prior: _Normal, spreads: Floats) -> Floats:
    seeds = spreads[..., None] * evidence.per_spread * np.eye(len(evidence.which))
    covariance = prior.covariance[..., evidence.which[:, None], evidence.which]
    return np.asarray(covariance + evidence.pictures + seeds)


def _likelihood(evidence: _Evidence, prior: _Normal, spreads: Floats) -> Floats:
    """Log of it, of what was seen; of each of several priors."""
    factor = np.linalg.cholesky(_seen_covariance(evidence, prior, spreads))
    off = evidence.angles - prior.mean[evidence.which]
    scaled = np.linalg.solve(factor, np.broadcast_to(off[:, None], (*factor.shape[:-1], 1)))
    spanned = np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(axis=-1)
    return np.asarray(-(scaled**2).sum(axis=(-2, -1)) / 2 - spanned)


def _drawn(
    evidence: _Evidence,
    prior: _Normal,
    spread: Floats,
    draws: int,
    candidates: int,
    rng: np.random.Generator,
) -> Floats:
    """(draws, candidates) angles, given what was seen."""
    shared = prior.covariance[np.ix_(evidence.which, np.arange(candidates))]
    gain = np.linalg.solve(_seen_covariance(evidence, prior, spread), shared).T
    mean = prior.mean[:candidates] + gain @ (evidence.angles - prior.mean[evidence.which])
    left = prior.covariance[:candidates, :candidates] - gain @ shared
    factor = np.linalg.cholesky(left + 1e-9 * np.eye(candidates))
    return np.asarray(mean + rng.standard_normal((draws, candidates)) @ factor.T)
