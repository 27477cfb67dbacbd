import sys

from apo.export.write import main

sys.exit(main())
