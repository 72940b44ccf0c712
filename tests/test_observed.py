"""The observed information and the scores of rows, against differences of the log-likelihood."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import linear_parts, make_data, responsibilities
from test_linked import LAWS, begun, fit_data

from skmoe._em import fit_em
from skmoe._fit import Parts
from skmoe._monitor import Monitor
from skmoe.inference._observed import ObservedInformation
from skmoe.likelihoods import Gaussian, Mixed

SMOOTH = [n for n, (law, _) in LAWS.items() if law.is_smooth and not isinstance(law, Mixed)]


def coefficients(parts):
    """Factors from flat parameters to those of the information."""
    unit = np.broadcast_to(parts.experts.unit(), parts.experts.coef.shape).ravel()
    gate, law = np.ones(parts.gate.flat().size), np.ones(parts.likelihood.flat().size)
    return np.concatenate([gate, unit, law])


def log_likelihood(data, parts):
    """Of each row, by the parts themselves."""
    joint = parts.gate.log_proba(data.gate_X) + parts.likelihood.log_lik(
        data.y, parts.experts.predict(data.X)
    )
    return np.logaddexp.reduce(joint, axis=1)


def first_differences(data, parts, step=1e-6):
    """Scores of rows (n, p) by differences."""
    flat, unit = parts.flat(), coefficients(parts)
    found = []
    for i in range(flat.size):
        ends = [parts.with_flat(flat + s * step * (np.arange(flat.size) == i)) for s in (1, -1)]
        up, down = (log_likelihood(data, end) for end in ends)
        found.append((up - down) / (2.0 * step * unit[i]))
    return np.array(found).T


def second_differences(data, parts, step=1e-4):
    """Information of all rows by differences of scores, which are tested by themselves."""
    flat, unit, found = parts.flat(), coefficients(parts), []
    for i in range(flat.size):
        ends = [parts.with_flat(flat + s * step * (np.arange(flat.size) == i)) for s in (1, -1)]
        up, down = (data.weight @ scores_of(data, end) for end in ends)
        found.append((down - up) / (2.0 * step * unit[i]))
    return np.array(found)


def information_of(data, parts):
    return ObservedInformation(parts, data.gate_X, data.X, data.y, data.weight)


def scores_of(data, parts):
    observed = information_of(data, parts)
    blocks, means, _ = observed._block(slice(0, len(data.weight)))
    return observed._scores(blocks, means)


def check(data, parts):
    scores = scores_of(data, parts)
    assert_allclose(scores, first_differences(data, parts), rtol=1e-5, atol=1e-6)
    information, products = information_of(data, parts).matrices()
    expected = second_differences(data, parts)
    assert_allclose(information, expected, atol=1e-6 * np.abs(expected).max())
    assert_allclose(information, information.T, atol=1e-9 * np.abs(expected).max())
    weighted = np.sqrt(data.weight)[:, None] * scores
    assert_allclose(products, weighted.T @ weighted, rtol=1e-10)
    group = np.arange(len(scores)) % 7
    sums = np.array([data.weight[group == g] @ scores[group == g] for g in range(7)])
    assert_allclose(information_of(data, parts).matrices(group)[1], sums.T @ sums, rtol=1e-8)


CASES = [
    ("regression", {}, False),
    ("regression", {"n_outputs": 2}, False),
    ("classification", {}, False),
    ("regression", {}, True),
]


@pytest.mark.parametrize(("task", "sizes", "sparse"), CASES)
def test_derivatives_are_those_of_the_log_likelihood(task, sizes, sparse, monkeypatch):
    monkeypatch.setattr("skmoe.inference._observed._BLOCK_NUMBERS", 3000)  # several blocks
    data = make_data(task, 0, True, sparse, n=50, d=2, **sizes)
    result = fit_em(data, linear_parts(data, 3), Monitor(0.0, 2), responsibilities(50, 3))
    check(data, Parts(result.gate, result.experts, result.likelihood))


def test_one_variance_for_all():
    data = make_data("regression", 0, True, False, n=50, d=2)
    parts = linear_parts(data, 3, likelihood=Gaussian(shared=True))
    result = fit_em(data, parts, Monitor(0.0, 2), responsibilities(50, 3))
    check(data, Parts(result.gate, result.experts, result.likelihood))


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_of_laws_behind_links(name):
    data = fit_data(name)
    check(data, begun(data, name))
