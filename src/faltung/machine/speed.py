"""Nominal speeds of a processor: they turn cycles and bytes into nanoseconds.

They are nominal, not measured, so prices and therefore plans are the same in every process and on
every computer of a row. They describe one core, and are good enough to compare two methods.
"""

from faltung.geometry.record import dataclass

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Speed:
    """Nominal speed of one core.

    Parameters
    ----------
    ghz
        Cycles per nanosecond while all lanes are busy.
    l3
        Bytes of the cache that the cores share.
    rates
        Bytes per nanosecond that one core moves from its first-level, second-level and third-level
        caches and from memory.
    """

    ghz: float = 2.5
    l3: int = 8 * _MIB
    rates: tuple[float, float, float, float] = (80.0, 40.0, 15.0, 8.0)

    def ns(self, cycles: float, size: float, l1: int, l2: int) -> float:
        """Nanoseconds for ``cycles``, or to move ``size`` bytes once, whichever is longer.

        ``l1``, ``l2``: bytes of the caches of one core.
        """
        level = sum(size > most for most in (l1, l2, self.l3))
        return max(cycles / self.ghz, size / self.rates[level])


AVX512 = Speed(3.0, 32 * _MIB, (250.0, 100.0, 25.0, 12.0))
AVX2 = Speed(3.1, 16 * _MIB, (150.0, 70.0, 25.0, 12.0))
SSE = Speed(3.1, 16 * _MIB, (80.0, 50.0, 25.0, 12.0))
NEON = Speed(2.6, 16 * _MIB, (80.0, 50.0, 20.0, 12.0))
GENERIC = Speed()
