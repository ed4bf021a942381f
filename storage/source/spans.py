"""How many candles something concerns, and the first and last of them."""

from dataclasses import dataclass

from storage.chunk import Ints


@dataclass
class Spans:
    """A count of candles with the open times (unix seconds) of the first and last; 0 before any was counted."""

    count: int = 0
    first: int = 0
    last: int = 0

    def add(self, times: Ints) -> None:
        """Count some more candles by their open times."""
        if len(times):
            known = [int(times.min()), int(times.max()), *([self.first, self.last] if self.count else [])]
            self.first, self.last = min(known), max(known)
            self.count += len(times)
