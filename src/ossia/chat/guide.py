"""Holds a request to the harmony frame while it is sampled, and its reasoning to a budget.

Knows ids and counts only; what the words mean is read in turn.py.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ossia.harmony.frame import Frame

MAX_RESERVE = 1024
"""Most tokens kept back for the answer when a length limit comes near; else a quarter of it."""


class FrameGuide:
    """See `ossia.engine.request.Guide`."""

    def __init__(self, frame: Frame, *, max_analysis: int | None, max_tokens: int) -> None:
        """Start at the frame's beginning.

        Args:
            frame: the automaton for this request.
            max_analysis: tokens of reasoning; 0: none at all. None: as many as fit.
            max_tokens: of the whole answer.
        """
        self._frame = frame
        self._state = frame.start
        self._left = max_analysis
        self._reserve = min(MAX_RESERVE, max_tokens // 4)
        if max_analysis == 0:
            self._state = frame.without_analysis(self._state)

    def allowed(self) -> tuple[int, ...] | NDArray[np.bool_] | None:
        """See `Guide.allowed`."""
        legal = self._frame.legal(self._state)
        return legal.mask() if legal.is_body else legal.ids

    def accept(self, token_id: int) -> None:
        """See `Guide.accept`."""
        if self._left is not None and self._frame.in_analysis(self._state):
            self._left -= 1
        self._state, _ = self._frame.step(self._state, token_id)

    def forced(self, tokens_left: int) -> Sequence[int]:
        """See `Guide.forced`. Spent reasoning is closed with the whole opener of the answer.

        END alone is not enough: the model would open the next analysis message.
        """
        closing = self._frame.close_analysis(self._state)
        spent = self._left is not None and self._left <= 0
        if spent or (closing and tokens_left <= self._reserve + len(closing)):
            self._state = self._frame.without_analysis(self._state)
            if closing:
                return closing
        return self._frame.forced(self._state)

    @property
    def finished(self) -> bool:
        """See `Guide.finished`."""
        return self._frame.is_done(self._state)
