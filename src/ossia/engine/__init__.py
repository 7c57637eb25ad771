"""Many requests at once: schedule, run, update."""
