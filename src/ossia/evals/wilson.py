"""How far a share that was counted may lie from the true one. Knows only numbers."""

import math

Z = 1.96
"""Standard deviations of a normal distribution that hold 95 % of it."""


def wilson(right: int, n: int) -> tuple[float, float]:
    """The interval in which the true share lies, 95 times of 100 (Wilson, 1927)."""
    if not n:
        return 0.0, 1.0
    z2, share = Z**2, right / n
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)
