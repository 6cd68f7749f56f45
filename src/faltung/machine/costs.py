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

# Between two multiply-adds of one sum, and how many sums hide that: two begin in every cycle. Where
# the next tile begins meanwhile, a sum waits less.
FMA_LATENCY_CYCLES = 4
FMA_LATENCY_SUMS = 8
OVERLAPPED_LATENCY_CYCLES = 2.5

# A load under a mask. Storing one element alone: within the second-level cache, and beyond it.
MASKED_LOAD_CYCLES = 1.5
SCATTER_CYCLES = (2, 4)

# Copying a vector: of a patch of the input; of a row to where its positions are contiguous; of a
# signal whose lanes are transposed. Copying an element: into a block of a transform; into a panel.
PATCH_VECTOR_CYCLES = 2.0
ROW_VECTOR_CYCLES = 4.0
SIGNAL_VECTOR_CYCLES = 4.0
BLOCK_COPY_CYCLES = 0.25
PANEL_COPY_CYCLES = 1.0

# Bytes a cycle from the second-level cache, the third-level cache, and memory.
L2_BYTES_PER_CYCLE, L3_BYTES_PER_CYCLE, MEMORY_BYTES_PER_CYCLE = 16.0, 12.0, 4.0
# Bytes of weights, read in order, that the third-level cache holds. Bytes of a copy, read in many
# places at once, that stay in a cache of any level; and cycles to read a byte of a longer one.
L3_WEIGHT_BYTES = 20 << 20
CACHED_COPY_BYTES = 4 << 20
UNCACHED_BYTE_CYCLES = 0.5
# The distance in bytes at which addresses map to the same lines of the first-level cache again.
CACHE_WAY_BYTES = 4096

# Bytes on the stack of a thread: for a patch of the input, for sums of minimal filtering forward,
# and of its gradient for the weight, which are read again and again.
PATCH_STACK_BYTES = 128 << 10
SUMS_STACK_BYTES = 96 << 10
WEIGHT_GRAD_STACK_BYTES = 56 << 10

# How far ahead lines are prefetched. Weights, in iterations of the innermost loop: about 170
# cycles, more than the second-level cache takes. Filters that lie far apart, which no hardware
# prefetches, in input channels. Rows that are copied into blocks of a transform or out of them, and
# rows that the first and the last pass read or write, of which several are under way.
PREFETCH_DISTANCE_ITERATIONS = 12
PREFETCH_DISTANCE_FILTER_CHANNELS = 8
PREFETCH_DISTANCE_COPIED_ROWS = 8
PREFETCH_DISTANCE_PASS_ROWS = 2

# Bands of rows: of a chain of layers, the bytes of its maps on the stack of a thread; cycles of a
# call of a step; and bytes a cycle that a core moves of a map that has to go to the third-level
# cache, most of which prefetching hides, or to memory.
BAND_STACK_BYTES = 320 << 10
BAND_CALL_CYCLES = 150
BAND_L3_BYTES_PER_CYCLE, BAND_MEMORY_BYTES_PER_CYCLE = 100.0, 5.0
# Bytes a cycle of weights that do not stay in the first-level cache from row to row.
BAND_WEIGHT_BYTES_PER_CYCLE = 40.0
