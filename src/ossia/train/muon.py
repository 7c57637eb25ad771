"""The Muon optimiser: orthogonalised momentum, for the matrices between input and output.

Facts: K. Jordan's note of 2024 and arXiv:2502.16982. A stack of matrices is orthogonalised one by
one, side by side. Letters: B matrices of a stack, I rows, J columns.
"""

from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic: five steps bring singular values of 0.003 to 1 near 1."""


def orthogonal(matrix_BIJ: Tensor) -> Tensor:
    """The nearest (half-)orthogonal matrices, singular values within 0.3 of 1."""
    tall = matrix_BIJ.shape[-2] > matrix_BIJ.shape[-1]
    x = matrix_BIJ.transpose(-2, -1) if tall else matrix_BIJ
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        square = x @ x.transpose(-2, -1)
        x = a * x + (b * square + c * square @ square) @ x
    found: Tensor = x.transpose(-2, -1) if tall else x
    return found


class Muon(torch.optim.Optimizer):
    """For parameters [I, J] or [B, I, J]; the rate is the size of an update in spectral norm."""

    def __init__(self, params: Any, lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Nesterov's momentum, orthogonalised; wide updates are scaled as the square root."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg"].lerp_(parameter.grad, 1 - MOMENTUM)
                update = orthogonal(parameter.grad.lerp(state["exp_avg"], MOMENTUM))
                rows, columns = parameter.shape[-2:]
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)
