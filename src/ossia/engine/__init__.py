"""Many requests at once: schedule, run, settle."""
