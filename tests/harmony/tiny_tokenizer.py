"""A vocabulary of single bytes and a few merges, whose ids are none of the real one's."""

LONGER = (b" t", b"o=", b"an", b"al", b"is", b"on", b"ion", "é".encode(), b" to", b"anal", b"tion")
RANKS = [*(bytes([value]) for value in reversed(range(256))), *LONGER]
NAMES = ("call", "channel", "constrain", "end", "endoftext", "message", "return", "start",
         "startoftext", "reserved_1")  # fmt: skip
CONTROL = {f"<|{name}|>": len(RANKS) + nth for nth, name in enumerate(NAMES)}
