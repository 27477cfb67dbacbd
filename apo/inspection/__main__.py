import sys

from apo.inspection.report import main

sys.exit(main())
