"""How fast an ordinary processor of a row is: what turns cycles and bytes into nanoseconds.

Nominal, not measured: prices, and so plans, are the same in every process and on every computer of
a row. They are for one core, and good enough to compare two methods by.
"""

from dataclasses import dataclass

_M = 1 << 20


@dataclass(frozen=True, slots=True)
class Speed:
    """ghz: cycles a nanosecond, all lanes at work. l3: bytes of the cache that cores share.
    rates: bytes a nanosecond that one core moves from first to third level and from memory.
    """

    ghz: float = 2.5
    l3: int = 8 * _M
    rates: tuple[float, float, float, float] = (80.0, 40.0, 15.0, 8.0)

    def ns(self, cycles: float, size: float, l1: int, l2: int) -> float:
        """Nanoseconds of so many cycles over arrays of ``size`` bytes, each moved once: the longer
        of the two. ``l1``, ``l2``: bytes of the caches of a core.
        """
        level = sum(size > most for most in (l1, l2, self.l3))
        return max(cycles / self.ghz, size / self.rates[level])


AVX512 = Speed(3.0, 32 * _M, (250.0, 100.0, 25.0, 12.0))
AVX2 = Speed(3.1, 16 * _M, (150.0, 70.0, 25.0, 12.0))
SSE = Speed(3.1, 16 * _M, (80.0, 50.0, 25.0, 12.0))
NEON = Speed(2.6, 16 * _M, (80.0, 50.0, 20.0, 12.0))
GENERIC = Speed()
