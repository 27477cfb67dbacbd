"""`python -m apo.inspection`: what is in a file of data."""

import signal
import sys

from apo.inspection.report import main

signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a traceback
sys.exit(main())
