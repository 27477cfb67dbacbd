"""start: round zero, in which the LLM of both arms is the actor and the RM of the game is the base RM.

In: the actor and the base RM. Out: the same checkpoints under the names that round one looks for,
`models/llm_base/r0`, `models/llm_apo/r0` and `models/rm_apo/r0`, and an empty `rounds.json`. Checks that
the rounds follow each other.
"""

from pathlib import Path

from apo.core.config import check_rounds
from apo.core.records import copy_folder, write_json
from apo.core.stage import run


def main(
    actor: Path,
    base_rm: Path,
    out_llm_base: Path,
    out_llm_apo: Path,
    out_rm_apo: Path,
    out_tables: Path,
    params: Path = Path("params.yaml"),
) -> None:
    check_rounds(params)
    for source, target in ((actor, out_llm_base), (actor, out_llm_apo), (base_rm, out_rm_apo)):
        copy_folder(source, target)
    write_json(out_tables / "rounds.json", [])


if __name__ == "__main__":
    run(main)
