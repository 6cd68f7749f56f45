"""What an ordinary processor takes for the work around the sums: the constants of all prices.

The same for every row of the table, so that plans are the same in every process. Each name says its
unit; cycles are those of one core.
"""

# A line of every cache.
LINE_BYTES = 64

# Copies, of one element: in its order; into another order within the second-level cache, and beyond
# it; to another dtype; a complex number into its parts, or back.
COPY_CYCLES = 0.75
TRANSPOSE_CYCLES = (1.0, 3.0)
CONVERT_CYCLES = 0.5
COMPLEX_PARTS_CYCLES = 1.5

# A step of its own, and the barrier behind it.
STEP_CYCLES = 1000

# Less work than this is done by the caller alone: in a call, since handing over to the team costs
# about as much; in a program, where a barrier costs about as much as a layer.
MIN_PARALLEL_CYCLES = 15_000.0
MIN_PARALLEL_PROGRAM_CYCLES = 60_000.0
