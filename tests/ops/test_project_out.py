import numpy as np
import pytest


@pytest.mark.parametrize("tokens", [0, 1, 3, 8, 21])
@pytest.mark.parametrize(("width", "attention_width"), [(32, 6), (64, 96), (2880, 512), (96, 4096)])
def test_agrees_with_the_judge(both, make, run, assert_near, tokens, width, attention_width):
    weight_DE, bias_D = make.weight(width, attention_width), make.weight(width)
    hidden_TD, attention_TE = make.normal(tokens, width), make.normal(tokens, attention_width)
    ours, law = (
        run(ops, "project_out", hidden_TD, attention_TE, ops.prepare_out(weight_DE, bias_D))
        for ops in both
    )
    assert_near(ours, law)


def test_adds_to_the_residual_stream(backend, make, run):
    out = backend.prepare_out(np.eye(32, dtype=np.float32), np.full(32, 2, np.float32))
    hidden_TD, attention_TE = make.normal(2, 32), make.normal(2, 32)
    result_TD = run(backend, "project_out", hidden_TD, attention_TE, out)
    np.testing.assert_allclose(result_TD, hidden_TD + attention_TE + 2, rtol=1e-6)


def test_refuses_heads_of_another_width(backend, make):
    out = backend.prepare_out(make.weight(64, 96), make.weight(64))
    with pytest.raises(ValueError, match=r"expected \[rows, 96\]"):
        backend.project_out(
            backend.from_numpy(make.normal(1, 64)), backend.from_numpy(make.normal(1, 64)), out
        )


def test_refuses_a_bias_that_does_not_fit(backend, make):
    with pytest.raises(ValueError, match=r"out bias has shape \[63\]; expected \[64\]"):
        backend.prepare_out(make.weight(64, 96), make.weight(63))
