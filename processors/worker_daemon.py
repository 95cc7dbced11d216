"""Spark's Python worker daemon, warmed: named by ``spark.python.daemon.module``.

pyspark's workers collect garbage after every task, 14 to 30 ms with pyarrow and NumPy loaded. Importing what they need
before the fork and freezing it takes that away.
"""

import gc

import numpy  # noqa: F401
import pyarrow  # noqa: F401
import pyspark.sql.worker.plan_data_source_read
import pyspark.worker  # noqa: F401
from pyspark.daemon import manager

import processors.slices  # noqa: F401

if __name__ == "__main__":
    gc.collect()
    gc.freeze()
    manager()
