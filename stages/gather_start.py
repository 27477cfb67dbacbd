"""gather_start: what the report shows of a run that belongs to no round.

In: metrics and curves of the backbone, the actor and the RMs of human comparisons. Out: `data/gathered/r0`,
from which stage `gather` goes on round by round.
"""

from pathlib import Path

from apo.core.stage import run
from apo.report.run import read_found, write_run


def main(
    data: Path,
    split: Path,
    backbone: Path,
    actor: Path,
    base_rm: Path,
    test_rm: Path,
    answer_actor: Path,
    of_backbone: Path,
    of_actor: Path,
    of_base_rm: Path,
    of_test_rm: Path,
    out: Path,
) -> None:
    found = [data, split, backbone, actor, base_rm, test_rm, answer_actor]
    write_run(out, read_found(found, [of_backbone, of_actor, of_base_rm, of_test_rm]))


if __name__ == "__main__":
    run(main)
