"""The C library's heap."""

import ctypes

M_TRIM_THRESHOLD = -1
TRIM_BYTES = 128 * 1024


def return_freed_memory() -> None:
    """Makes glibc return freed memory to the system, as MALLOC_TRIM_THRESHOLD_=131072 would at the start of a process.

    glibc raises its own threshold with the largest block that it has freed: after 1,000 unfinished bodies of 1 MiB it
    kept 529 MB, with this setting 75 to 125.
    """
    # macOS and musl have no mallopt.
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
