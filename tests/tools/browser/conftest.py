import time

import pytest


@pytest.fixture
def linear():
    """Holds work to a time that grows with its size: eight times as much, not 64 times as long."""

    def check(work, size):
        def seconds(size):
            best = []
            for _ in range(2):
                start = time.process_time()
                work(size)
                best.append(time.process_time() - start)
            return min(best)

        small, large = seconds(size // 8), seconds(size)
        assert large < 24 * small + 0.03, (
            small,
            large,
        )  # three times linear, and the clock's grain

    return check
