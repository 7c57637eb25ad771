import pytest
import torch

from ossia.train.muon import MOMENTUM, Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 8), (16, 4), (4, 16), (3, 12, 6)])
def test_singular_values_come_near_to_one_and_directions_stay(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonal(matrix)
    size = torch.linalg.svdvals(found)
    assert ((size > 0.6) & (size < 1.3)).all()
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    nearest = left @ right
    assert ((found * nearest).sum() / (found.norm() * nearest.norm())).item() > 0.97


def test_each_matrix_of_a_stack_is_made_orthogonal_on_its_own():
    stack = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    stack[1] *= 1e-4
    one_by_one = torch.stack([orthogonal(each) for each in stack])
    torch.testing.assert_close(orthogonal(stack), one_by_one)


def test_nothing_to_learn_moves_nothing():
    assert not orthogonal(torch.zeros(4, 6)).any()


def test_a_step_has_the_size_of_the_rate_whatever_the_gradient():
    for scale in (1e-3, 1e3):
        weight = torch.zeros(6, 6, requires_grad=True)
        optimiser = Muon([weight], lr=0.1, weight_decay=0.0)
        weight.grad = scale * torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
        optimiser.step()
        assert torch.linalg.matrix_norm(weight.detach(), 2).item() == pytest.approx(0.1, rel=0.3)


def test_momentum_outlives_a_step():
    weight = torch.zeros(2, 2, requires_grad=True)
    optimiser = Muon([weight], lr=1.0, weight_decay=0.0)
    weight.grad = torch.eye(2)
    optimiser.step()
    torch.testing.assert_close(optimiser.state[weight]["exp_avg"], (1 - MOMENTUM) * torch.eye(2))


def test_weights_decay_with_the_rate():
    weight = torch.ones(2, 2, requires_grad=True)
    optimiser = Muon([weight], lr=0.5, weight_decay=0.1)
    weight.grad = torch.zeros(2, 2)
    optimiser.step()
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), 0.95))
