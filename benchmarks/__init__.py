"""Time and memory of this project beside other ways; threads wait for each other as those of a stage do."""

import stages  # noqa: F401  before torch
