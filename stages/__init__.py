"""One script a stage. Threads that wait for each other spin for some microseconds, then they sleep.

By default GNU's OpenMP, which torch brings, lets waiting threads spin for milliseconds. Beside other work
they occupy the cores that the awaited threads need: a step of 0.05 s took 4.5 s beside one busy process.
OpenMP reads the variable once, when torch is imported; this is imported before. No result depends on it.

The garbage collector is off until `apo.core.stage.run` begins: imports make a million objects, and all of
them stay. Collecting took a fifth of the time of the imports.
"""

import gc
import importlib.util
import os
import sys

if importlib.util.find_spec("torch") is None:
    sys.exit(
        f"error: {sys.executable}: found no torch, expected the packages of requirements.lock; "
        "run `make setup`, and `source .venv/bin/activate` before `dvc repro`"
    )
gc.disable()

if "OMP_WAIT_POLICY" not in os.environ:  # which it would overrule
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
