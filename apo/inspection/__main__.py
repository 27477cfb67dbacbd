"""`python -m apo.inspection`: what is in a file of data."""

import sys

from apo.inspection.report import main

sys.exit(main())
