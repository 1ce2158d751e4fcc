"""What frozen features tell of a task without training on them, and of its labels. Pure NumPy.

features, labels -> `logme`          how well a linear model can explain the labels
                 -> `nearest`, `vote`  what a picture's neighbours are
                 -> `suspects`       pictures whose neighbours are of another class
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
"""(pictures, width); of any float type, memory-mapped or not."""
Labels = NDArray[np.int64]
"""(pictures,), each from 0."""
Floats = NDArray[np.float64]

BLOCK_NUMBERS = 2**24
"""How many numbers of a product are held at once: 128 MiB in float64."""
SMALLEST = 1e-6
"""Singular values below this, relative to the largest, are what rounding to float32 leaves."""
WIDEST, POINTS, ZOOMS = 12.0, 49, 5
"""The search for a ratio: powers of ten to each side at first, points on a line, finer lines."""
LEAST_RESIDUAL = 1e-10
"""Of a label's own size. Labels that features explain exactly would have infinite evidence."""
LEAST_WEIGHT = 1e-6
"""Of a neighbour that is not alike at all: a vote needs somebody."""


def logme(features: Features, labels: Labels) -> float:
    """Log of the maximum evidence of the labels, per picture and class; higher is better.

    Each class is a target of 1 (its pictures) or 0 (others); a linear model with Gaussian weights
    and noise explains it. Their two variances are chosen so that the targets are as probable as
    can be (You et al. 2021, LogME, ICML, arXiv 2102.11005). The paper iterates to the variances,
    which takes thousands of rounds where features tell little; here their ratio is searched for,
    which is all that the maximum depends on. As published, features are neither centred nor
    standardised; a common factor of all features changes nothing. Classes without pictures are
    left out.

    Args:
        features: at least one picture.
        labels: the class of each.

    Raises:
        ValueError: features that are not finite.
    """
    spectrum = _spectrum(features, labels)
    return float(np.mean(_greatest(spectrum)) / spectrum.pictures)


@dataclass(frozen=True)
class _Spectrum:
    """All that the evidence depends on.

    Attributes:
        pictures: how many.
        values: (rank,) eigenvalues of features times their transpose.
        along: (rank, classes) squared part of each target along each eigenvector.
        outside: (classes,) squared part of each target that features cannot explain.
    """

    pictures: int
    values: Floats
    along: Floats
    outside: Floats


def _spectrum(features: Features, labels: Labels) -> _Spectrum:
    """By eigenvectors of the smaller of the two products of features with themselves."""
    count, width = features.shape
    scale = 1 / _largest(features)
    targets = (labels[:, None] == np.unique(labels)).astype(np.float64)
    size = (targets**2).sum(axis=0)
    if count <= width:
        whole = np.asarray(features, np.float64) * scale
        values, vectors = np.linalg.eigh(whole @ whole.T)
        kept = _kept(values)
        along = (vectors[:, kept].T @ targets) ** 2
    else:
        square, crossed = np.zeros((width, width)), np.zeros((width, targets.shape[1]))
        first = 0
        for block in _blocks(features):
            scaled = block * scale
            square += scaled.T @ scaled
            crossed += scaled.T @ targets[first : first + len(block)]
            first += len(block)
        values, vectors = np.linalg.eigh(square)
        kept = _kept(values)
        along = (vectors[:, kept].T @ crossed) ** 2 / values[kept][:, None]
    outside = size - along.sum(axis=0) if len(values[kept]) < count else np.zeros_like(size)
    return _Spectrum(count, values[kept], along, np.maximum(outside, LEAST_RESIDUAL * size))


def _largest(features: Features) -> float:
    """Of the absolute values; 1 where all are 0.

    Raises:
        ValueError: not all are finite.
    """
    largest = np.array([np.abs(block).max() for block in _blocks(features)]).max()
    if not np.isfinite(largest):
        raise ValueError("features that are not finite")
    return float(largest) or 1.0


def _kept(values: Floats) -> NDArray[np.bool_]:
    return np.asarray(values > max(values.max(initial=0.0) * SMALLEST**2, 0.0))


def _blocks(features: Features) -> Iterator[Floats]:
    rows = max(1, BLOCK_NUMBERS // max(features.shape[1], 1))
    for first in range(0, len(features), rows):
        yield np.asarray(features[first : first + rows], np.float64)


def _greatest(spectrum: _Spectrum) -> Floats:
    """(classes,) log evidence at the best ratio for each: on a line of points, then finer ones."""
    classes = np.arange(spectrum.along.shape[1])
    middle = np.full(len(classes), np.log10(spectrum.values.mean()) if len(spectrum.values) else 0)
    reach = WIDEST
    for _ in range(ZOOMS):
        offsets = np.linspace(-reach, reach, POINTS)
        found = np.stack([_evidence(spectrum, 10 ** (middle + o)) for o in offsets])
        best = found.argmax(axis=0)
        middle, reach = middle + offsets[best], 2 * reach / (POINTS - 1) * 1.5
    return np.asarray(found[best, classes])


def _evidence(spectrum: _Spectrum, ratio: Floats) -> Floats:
    """(classes,) log evidence where the precision of weights over that of noise is this.

    The scale of both is the best for it.

    A target is Gaussian with covariance ``(values + ratio) / precision of weights`` along the
    eigenvectors, and ``ratio / precision of weights`` elsewhere.
    """
    count, rest = spectrum.pictures, spectrum.pictures - len(spectrum.values)
    spread = spectrum.values[:, None] + ratio
    outside = spectrum.outside / ratio if rest else 0.0
    mean_square = ((spectrum.along / spread).sum(axis=0) + outside) / count
    volume = np.log(spread).sum(axis=0) + rest * np.log(ratio)
    return np.asarray(-0.5 * (count * (np.log(2 * np.pi * mean_square) + 1) + volume))


# ----------------------------------------------------------------------------------- neighbours


@dataclass(frozen=True)
class Neighbours:
    """The nearest known pictures of some others.

    Attributes:
        which: int (pictures, neighbours), rows of what is known, the nearest first.
        alike: float64 (pictures, neighbours), cosine of the angle to each, at least
            `LEAST_WEIGHT`.
    """

    which: NDArray[np.int64]
    alike: Floats


def nearest(pictures: Features, known: Features, count: int) -> Neighbours:
    """The nearest neighbours by cosine, measured from the mean of what is known.

    Measured so because what follows a ReLU has no negative numbers: seen from zero, everything
    points the same way.

    Args:
        pictures: (pictures, width), finite; the array ``known`` itself for the neighbours of
            each among the others.
        known: (known pictures, width).
        count: of neighbours; as many as there are where there are fewer.

    Raises:
        ValueError: what is known is not finite.
    """
    alone = pictures is known
    middle: Floats = np.asarray(np.mean(known, axis=0, dtype=np.float64))
    scale = _largest(known)
    base = _directions(known, middle, scale)
    count = min(count, len(known) - alone)
    rows = max(1, BLOCK_NUMBERS // len(known))
    which, alike = [], []
    for first in range(0, len(pictures), rows):
        some = base[first : first + rows]
        if not alone:
            some = _directions(pictures[first : first + rows], middle, scale)
        cosine = some @ base.T
        if alone:
            cosine[np.arange(len(some)), first + np.arange(len(some))] = -np.inf
        best = np.argpartition(-cosine, count - 1, axis=1)[:, :count]
        nearness = np.take_along_axis(cosine, best, axis=1)
        best = np.take_along_axis(best, np.argsort(-nearness, axis=1, kind="stable"), axis=1)
        which.append(best)
        alike.append(np.take_along_axis(cosine, best, axis=1))
    found = np.concatenate(alike).astype(np.float64)
    return Neighbours(np.concatenate(which), np.maximum(found, LEAST_WEIGHT))


def _directions(features: Features, middle: Floats, scale: float) -> NDArray[np.float32]:
    """Of length 1; 0 for what lies in the middle itself. In float32: products in half the time."""
    found = np.empty(features.shape, np.float32)
    first = 0
    for block in _blocks(features):
        away = (block - middle) / scale
        length = np.linalg.norm(away, axis=1, keepdims=True)
        found[first : first + len(block)] = away / np.where(length > 0, length, 1.0)
        first += len(block)
    return found


def vote(
    neighbours: Neighbours, labels: Labels, classes: int, trust: Floats | None = None
) -> Floats:
    """What neighbours say, each with a weight of how alike it is.

    Args:
        neighbours: at least one for each picture.
        labels: of what is known.
        classes: how many there are.
        trust: (known pictures,) a further factor of each one's weight; None for 1.

    Returns:
        (pictures, classes), shares that sum to 1.
    """
    weights = neighbours.alike if trust is None else neighbours.alike * trust[neighbours.which]
    said = np.zeros((len(weights), classes))
    rows = np.broadcast_to(np.arange(len(weights))[:, None], weights.shape)
    np.add.at(said, (rows, labels[neighbours.which]), weights)
    return np.asarray(said / said.sum(axis=1, keepdims=True))


SUSPECT_NEIGHBOURS, SUSPECT_SHARE = 30, 0.95
LEAST_TRUST = 0.1
"""So that where no neighbour is borne out, none of them has the only word."""


@dataclass(frozen=True)
class Doubted:
    """A picture whose neighbours are of another class.

    Attributes:
        picture: its row.
        neighbours_say: the class that most of them have.
        share: of their votes that it has, 0 to 1.
    """

    picture: int
    neighbours_say: int
    share: float


def suspects(features: Features, labels: Labels, classes: int) -> list[Doubted]:
    """Pictures that may be mislabelled: nearly all neighbours are of one and the same other class.

    Thirty neighbours vote, twice: the second time each counts by how far its own neighbours have
    borne it out, so that other mislabelled pictures say little. A picture is suspect from 95% of
    the votes.

    The rule is meant to be right rather than to find all. Of 5% of labels changed at random, with
    MobileNetV2's features (`benchmarks/mislabelled.py`): precision 0.97 and recall 0.36 in 2,751
    pictures of tf_flowers, 1.00 and 0.21 in 1,000 of them, 0.97 and 0.72 in 1,050 of cats_vs_dogs,
    1.00 and 0.65 in 500. It says nothing of fewer pictures than 31, and hardly anything where
    classes have fewer than 30.

    Args:
        features: (pictures, width), finite.
        labels: the class of each, right or wrong.
        classes: how many there are.

    Returns:
        The most striking first.
    """
    if len(labels) <= SUSPECT_NEIGHBOURS:
        return []
    neighbours = nearest(features, features, SUSPECT_NEIGHBOURS)
    own = np.arange(len(labels)), labels
    trust = vote(neighbours, labels, classes)[own] + LEAST_TRUST
    said = vote(neighbours, labels, classes, trust)
    said[own] = 0.0
    share = said.max(axis=1)
    order = np.argsort(-share, kind="stable")
    found = order[share[order] >= SUSPECT_SHARE]
    return [Doubted(int(i), int(said[i].argmax()), float(share[i])) for i in found]
