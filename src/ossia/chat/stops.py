"""Stop strings in streamed text: nothing that might begin one is shown before it is certain."""

from collections.abc import Sequence


class StopFinder:
    """Passes text on up to the first stop string; holds back the tail that may begin one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """Text that may be shown now; after a stop string was found, none ever again."""
        if self.found or not self._stops:
            return "" if self.found else text
        text = self._held + text
        places = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if places:
            self.found, self._held = True, ""
            return text[: min(places)]
        longest = max(map(len, self._stops)) - 1
        for size in range(min(longest, len(text)), 0, -1):
            tail = text[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                self._held = tail
                return text[:-size]
        self._held = ""
        return text

    def close(self) -> str:
        """Text held back that turned out to begin no stop string."""
        held, self._held = self._held, ""
        return held
