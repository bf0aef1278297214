"""Files of weights from strangers, read without running anything that they name."""
