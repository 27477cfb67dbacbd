"""One script a stage. Threads that wait for each other sleep, unless `OMP_WAIT_POLICY` says otherwise.

By default they spin, and on cores with other work they spin where the thread that they wait for would run.
OpenMP reads it once, when torch is imported; this is imported before. No result depends on it.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
