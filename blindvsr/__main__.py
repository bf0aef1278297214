"""`python -m blindvsr` is the command `blindvsr`."""

import sys

from blindvsr.cli import main

sys.exit(main())
