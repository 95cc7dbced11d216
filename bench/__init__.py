"""What ``bin/bench`` runs."""

import sys
from pathlib import Path

# Benchmarks and tests run the same platform.
for folder in ("integration", "unit/feeds"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / folder))
