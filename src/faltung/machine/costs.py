"""What a typical processor needs for the work around the sums: constants of all prices.

They are the same for every row of the table, so plans are the same in every process. Each name ends
in its unit; cycles are cycles of one core.
"""

# Bytes in a line of any cache.
LINE_BYTES = 64

# Copying one element: in the same order; into another order, within the second-level cache and
# beyond it; to another dtype; from a complex number to its two parts, or back.
COPY_CYCLES = 0.75
TRANSPOSE_CYCLES = (1.0, 3.0)
CONVERT_CYCLES = 0.5
COMPLEX_PARTS_CYCLES = 1.5

# A separate step, and the barrier after it.
STEP_CYCLES = 1000

# Work below this is not shared between threads: in a call, because handing it to the team would
# cost about as much; in a program, because a barrier costs about as much as a small layer.
MIN_PARALLEL_CYCLES = 15_000.0
MIN_PARALLEL_PROGRAM_CYCLES = 60_000.0
