"""Measurements. `python -m benchmarks.train` finds its neighbours as `python benchmarks/train.py` does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
