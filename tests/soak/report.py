"""What was done: counts by name, and the last actions for whoever looks for the cause of a failure."""

from collections import Counter, deque
from collections.abc import Iterator

LAST = 25


class Report:
    """Counts everything; told by actions as they go."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._last: deque[str] = deque(maxlen=LAST)

    def count(self, name: str, number: int = 1) -> None:
        self.counts[name] += number

    def say(self, sentence: str) -> None:
        """What happens next, with everything that it takes to understand it."""
        self._last.append(sentence)

    @property
    def last(self) -> tuple[str, ...]:
        return tuple(self._last)

    def lines(self) -> Iterator[str]:
        """The counts as a table."""
        for name in sorted(self.counts):
            yield f"{name:48} {self.counts[name]:15,}"
