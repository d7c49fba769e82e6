"""What one execution may cost, for every target. `docs/fuzzing.md` says what each stands for."""

from tests.support.layout import GIB, MIB

MEMORY = 6 * GIB
"""Of the whole process while it fuzzes, which grows by itself: whoever passes it gets a MemoryError."""
PEAK = 32 * MIB
"""Of one input in a replay, as tracemalloc sees it, the input's own image included."""
PEAK_OF_LONG_FILES = GIB
"""The same where files may be as long as any that is opened, 256 TiB: maps have a byte for each MiB."""
SECONDS = 20
"""Of one execution while fuzzing, on a busy machine; longer is taken for a hang."""
