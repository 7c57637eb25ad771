import numpy as np
import pytest


@pytest.mark.parametrize("tokens", [0, 1, 7, 16])
@pytest.mark.parametrize(
    "sizes",
    [(32, 1, 1), (64, 5, 5), (96, 33, 8), (2880, 32, 4), (2880, 128, 4)],
)
def test_agrees_with_the_judge(both, make, run, assert_near, tokens, sizes):
    weights, hidden_TD = make.router(*sizes), make.normal(tokens, sizes[0])
    ours, law = (run(ops, "route", hidden_TD, ops.prepare_route(weights)) for ops in both)
    assert_near(ours[0], law[0])
    # no two scores of this seed are so near that rounding could order them otherwise
    np.testing.assert_array_equal(ours[1], law[1])
    assert_near(ours[2], law[2])


def routing(ops, run, make, bias_N, active):
    """Route by the bias alone."""
    weights = make.router(32, len(bias_N), active)._replace(
        router_ND=np.zeros((len(bias_N), 32), np.float32),
        bias_N=np.array(bias_N, np.float32),
    )
    return run(ops, "route", make.normal(1, 32), ops.prepare_route(weights))


def test_the_lower_index_wins_a_tie(backend, make, run):
    _, expert_TA, _ = routing(backend, run, make, [1, 3, 2, 3, 2, 3, 2], 4)
    assert expert_TA.tolist() == [[1, 3, 5, 2]]


def test_all_equal_scores_share_evenly(backend, make, run):
    _, expert_TA, weight_TA = routing(backend, run, make, [0.5] * 9, 4)
    assert expert_TA.tolist() == [[0, 1, 2, 3]]
    np.testing.assert_allclose(weight_TA, 0.25, rtol=1e-6)


def test_the_softmax_is_over_the_chosen_alone(backend, make, run):
    _, expert_TA, weight_TA = routing(backend, run, make, [np.log(6), np.log(2), np.log(8), 1], 2)
    assert expert_TA.tolist() == [[2, 0]]
    np.testing.assert_allclose(weight_TA, [[8 / 14, 6 / 14]], rtol=1e-6)


def test_great_scores_do_not_overflow(backend, make, run):
    _, _, weight_TA = routing(backend, run, make, [3e38, -3e38, 3e38], 3)
    np.testing.assert_allclose(weight_TA, [[0.5, 0.5, 0]], rtol=1e-6)


def test_refuses_more_active_experts_than_there_are(backend, make):
    with pytest.raises(ValueError, match="9 active experts; expected 1 to 8"):
        backend.prepare_route(make.router(32, 8, 9))


def test_refuses_rows_of_another_width(backend, make):
    router = backend.prepare_route(make.router(64, 4, 2))
    with pytest.raises(ValueError, match=r"expected \[rows, 64\]"):
        backend.route(backend.from_numpy(make.normal(1, 32)), router)
