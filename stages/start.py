"""start: round zero, in which the LLM of both arms is the actor and the RM of the game is the base RM.

In: a checkpoint. Out: the same files under the name that the first round looks for: `models/llm_base/r0`,
`models/llm_apo/r0`, `models/rm_apo/r0`. Here it is checked that the rounds follow each other.
"""

from pathlib import Path

from apo.core.config import check_rounds
from apo.core.records import copy_folder
from apo.core.stage import run


def main(checkpoint: Path, out: Path, params: Path = Path("params.yaml")) -> None:
    check_rounds(params)
    copy_folder(checkpoint, out)


if __name__ == "__main__":
    run(main)
