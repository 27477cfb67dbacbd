"""`python -m apo.export`: writes rows for other trainers."""

import sys

from apo.export.write import main

sys.exit(main())
