"""How often something may happen: token buckets, one per key, in memory."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

_KEYS = 10_000  # beyond this the key unused for longest is forgotten, so that strangers cannot fill the memory


class RateLimit:
    """`burst` times at once, then one more every `seconds`, for each key by itself."""

    def __init__(self, burst: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.burst, self.seconds, self._clock = burst, seconds, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def allows(self, key: str, cost: int = 1) -> bool:
        """Whether `cost` is still left for this key, which then is used up; cost 0 only looks whether anything is."""
        now = self._clock()
        with self._lock:
            left, seen = self._left.pop(key, (float(self.burst), now))
            left = min(float(self.burst), left + (now - seen) / self.seconds)
            allowed = left >= max(cost, 1)
            self._left[key] = (left - cost if allowed else left, now)
            if len(self._left) > _KEYS:
                self._left.popitem(last=False)
        return allowed
