"""Who writes a turn: the engine in a process of its own, with our tools around it."""
