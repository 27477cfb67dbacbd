"""plots: the tables of the last round where `dvc plots` looks for them.

In: the tables of the last round. Out: the same in `metrics/plots`. `dvc plots diff` draws two revisions into
one chart where their tables have the same name, whatever their rounds.
"""

from pathlib import Path

from apo.core.records import copy_folder
from apo.core.stage import run


def main(tables: Path, out: Path) -> None:
    copy_folder(tables, out)


if __name__ == "__main__":
    run(main)
