"""`python -m multiwanbond` is `mwb`."""

import sys

from multiwanbond.cli import main

sys.exit(main())
