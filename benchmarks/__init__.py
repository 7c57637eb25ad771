"""One file for each question of speed or size; run as `python -m benchmarks.NAME`."""
