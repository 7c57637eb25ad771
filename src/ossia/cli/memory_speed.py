"""How fast this computer's memory can be read, beside which the speed of a model is judged.

As a process of its own (`python -m ossia.cli.memory_speed THREADS` prints bytes a second), so that
its buffer does not count as the model's memory.
"""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

BUFFER_BYTES = 1 << 30
"""Larger than any cache."""


def read_bytes_per_second(threads: int, repeats: int = 3) -> float:
    """Read a buffer, a part on each thread; the best of the repeats counts."""
    import numpy as np

    parts = np.array_split(np.ones(BUFFER_BYTES // 8, np.uint64), threads)
    seconds = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            began = time.perf_counter()
            list(pool.map(np.bitwise_or.reduce, parts))  # lets go of Python's lock while it reads
            seconds.append(time.perf_counter() - began)
    return sum(part.nbytes for part in parts) / min(seconds)


def measured_apart(threads: int) -> float:
    """The same in a process of its own.

    Raises:
        subprocess.CalledProcessError: it failed, as a rule for want of memory.
    """
    command = [sys.executable, "-m", __name__, str(threads)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


if __name__ == "__main__":
    print(read_bytes_per_second(int(sys.argv[1])))
