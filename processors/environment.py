"""What the environment of a process that folds snapshots says. Read when it starts: by the BLAS, and by glibc."""

from __future__ import annotations

COMPUTING = {
    # One order of summation, whatever the machine; and a BLAS' threads spin while they wait, on cores others need.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Memory that NumPy's arrays free is kept: to get it back page by page from the kernel took a third of a fold of
    # 6,000 stocks.
    "MALLOC_MMAP_THRESHOLD_": str(256 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(512 * 2**20),
}
