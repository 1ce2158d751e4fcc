"""Evidence against a brute-force search and by hand; neighbours; planted wrong labels."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from bench.training import transferability
from bench.training.transferability import logme, nearest, suspects, vote


def by_force(features: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The same from the definition: the targets' Gaussian density, its variances searched for."""
    features = features.astype(np.float64)
    count, outer, found = len(features), features @ features.T, []
    for klass in np.unique(labels):
        y = (labels == klass).astype(float)

        def minus_density(logs: NDArray[np.float64], y: NDArray[np.float64] = y) -> float:
            weights, noise = np.exp(logs)
            covariance = weights * outer + noise * np.eye(count)
            if np.linalg.cond(covariance) > 1e11:
                return math.inf  # rounding would have the word
            _, log_volume = np.linalg.slogdet(covariance)
            distance = y @ np.linalg.solve(covariance, y)
            return float(0.5 * (distance + log_volume + count * np.log(2 * np.pi)) / count)

        grid = [np.array([a, b]) for a in range(-12, 3, 2) for b in range(-12, 3, 2)]
        start = min(grid, key=minus_density)
        options = {"xatol": 1e-7, "fatol": 1e-11, "maxiter": 2000}
        found.append(-minimize(minus_density, start, method="Nelder-Mead", options=options).fun)
    return float(np.mean(found))


def clusters(
    count: int, width: int, classes: int, apart: float, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Gaussian clouds, so far apart; classes in turns."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    features = rng.normal(size=(count, width)) + apart * rng.normal(size=(classes, width))[labels]
    return features.astype(np.float32), labels


@pytest.mark.parametrize("shape", [(40, 5), (40, 39), (30, 30), (20, 60)])
@pytest.mark.parametrize("apart", [0.3, 1.0, 3.0])
def test_the_evidence_is_what_a_search_finds(shape: tuple[int, int], apart: float) -> None:
    features, labels = clusters(*shape, 3, apart)
    assert logme(features, labels) == pytest.approx(by_force(features, labels), abs=1e-6)


def test_one_feature_worked_by_hand() -> None:
    # Targets (1, 1, 0, 0) and (0, 0, 1, 1), the feature is 1 for all: each target's part along it
    # is (1 + 1)**2 / 4 = 1, and 1 lies outside in 3 dimensions. Noise 1 / 3 and variance 1 along
    # the feature (of which 2 / 3 are the weight's) are the most probable.
    features, labels = np.ones((4, 1), np.float32), np.array([0, 0, 1, 1])
    expected = -0.5 * (4 * np.log(2 * np.pi) + 4 + np.log(1) + 3 * np.log(1 / 3)) / 4
    assert logme(features, labels) == pytest.approx(expected, abs=1e-9)


def test_features_of_nothing_but_zeros_leave_noise_alone() -> None:
    labels = np.array([0, 1, 0, 1])
    expected = -0.5 * (np.log(2 * np.pi * 0.5) + 1)
    assert logme(np.zeros((4, 3), np.float32), labels) == pytest.approx(expected)


def test_features_that_tell_classes_apart_have_more_evidence() -> None:
    found = [logme(*clusters(200, 20, 4, apart)) for apart in (0.0, 0.5, 1.0, 2.0)]
    assert found == sorted(found)
    assert found[-1] > found[0] + 0.5


@pytest.mark.parametrize("factor", [1e-30, 1e-3, 1e30])
@pytest.mark.parametrize("count", [12, 90])
def test_a_common_factor_changes_nothing(factor: float, count: int) -> None:
    features, labels = clusters(count, 30, 3, 1.0)
    assert logme(features * np.float32(factor), labels) == pytest.approx(
        logme(features, labels), abs=1e-5
    )


def test_odd_features_have_a_finite_evidence() -> None:
    features, labels = clusters(50, 8, 2, 1.0)
    odd = {
        "constant": np.full_like(features, 3.0),
        "one constant among others": np.concatenate([features, np.full((50, 1), 9.0)], axis=1),
        "twice the same": np.concatenate([features, features], axis=1),
        "the labels themselves": np.eye(2, dtype=np.float32)[labels],
        "one huge": np.concatenate([features, np.float32(1e37) * features[:, :1]], axis=1),
    }
    for name, some in odd.items():
        assert np.isfinite(logme(some.astype(np.float32), labels)), name
    assert np.isfinite(logme(features, np.zeros(50, np.int64)))  # one class has them all
    assert logme(odd["the labels themselves"], labels) > logme(features, labels)


def test_a_class_without_pictures_is_left_out() -> None:
    features, labels = clusters(60, 8, 3, 1.0)
    assert logme(features, labels * 5) == logme(features, labels)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(wrong: float) -> None:
    features, labels = clusters(60, 8, 3, 1.0)
    features[-1, 3] = wrong
    with pytest.raises(ValueError, match="not finite"):
        logme(features, labels)
    with pytest.raises(ValueError, match="not finite"):
        nearest(features, features, 3)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = clusters(130, 20, 3, 1.0)
    some, whole = features[:50], (logme(features, labels), nearest(features, features, 7))
    others = nearest(some, features[50:], 7)
    monkeypatch.setattr(transferability, "BLOCK_NUMBERS", 400)
    assert logme(features, labels) == pytest.approx(whole[0], abs=1e-9)
    np.testing.assert_array_equal(nearest(features, features, 7).which, whole[1].which)
    np.testing.assert_array_equal(nearest(some, features[50:], 7).which, others.which)


# ----------------------------------------------------------------------------------- neighbours


def test_neighbours_are_the_nearest_by_angle_from_the_middle() -> None:
    known = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.float32)
    found = nearest(np.array([[5, 1], [-1, -9]], np.float32), known, 2)
    np.testing.assert_array_equal(found.which, [[0, 1], [3, 2]])
    np.testing.assert_allclose(found.alike[0], np.array([5, 1]) / np.sqrt(26), rtol=1e-6)
    moved = nearest(np.array([[105, 101]], np.float32), known + 100, 2)
    np.testing.assert_array_equal(moved.which, [[0, 1]])


def test_nobody_is_its_own_neighbour() -> None:
    features, _ = clusters(20, 4, 2, 1.0)
    found = nearest(features, features, 19)
    assert all(sorted([i, *row]) == list(range(20)) for i, row in enumerate(found.which))
    assert (np.diff(found.alike) <= 0).all()
    assert nearest(features, features, 50).which.shape == (20, 19)
    assert nearest(features, features.copy(), 1).which[:, 0].tolist() == list(range(20))


def test_votes_weigh_how_alike_a_neighbour_is() -> None:
    neighbours = transferability.Neighbours(np.array([[0, 1, 2]]), np.array([[0.6, 0.3, 0.1]]))
    labels = np.array([0, 2, 2])
    np.testing.assert_allclose(vote(neighbours, labels, 3), [[0.6, 0.0, 0.4]])
    trust = np.array([0.5, 1.0, 1.0])
    np.testing.assert_allclose(vote(neighbours, labels, 3, trust), [[3 / 7, 0.0, 4 / 7]])


def test_equal_features_still_have_votes() -> None:
    features = np.ones((6, 3), np.float32)
    said = vote(nearest(features, features, 5), np.array([0, 0, 0, 1, 1, 1]), 2)
    np.testing.assert_allclose(said[0], [0.4, 0.6], atol=1e-6)


def test_planted_wrong_labels_are_found_and_nothing_else() -> None:
    features, labels = clusters(400, 16, 4, 3.0)
    wrong = np.array([3, 50, 111, 200, 399])
    planted = labels.copy()
    planted[wrong] = (labels[wrong] + 1) % 4
    found = suspects(features, planted, 4)
    assert sorted(d.picture for d in found) == wrong.tolist()
    assert {d.picture: d.neighbours_say for d in found} == {i: labels[i] for i in wrong}
    shares = [d.share for d in found]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] >= transferability.SUSPECT_SHARE


@pytest.mark.parametrize("classes", [2, 4, 100])
def test_features_that_tell_nothing_make_nobody_suspect(classes: int) -> None:
    features, labels = clusters(400, 16, classes, 0.0)
    assert suspects(features, labels, classes) == []


def test_too_few_pictures_make_nobody_suspect() -> None:
    features, labels = clusters(30, 16, 2, 9.0)
    labels[0] = 1
    assert suspects(features, labels, 2) == []
