"""Time and memory of this project beside other implementations; threads wait as those of a stage do."""

import stages  # noqa: F401  before torch
