"""gather: what the report shows of a round, behind that of the rounds before it.

In: metrics and curves of the round; its samples, their rewards, what was chosen; the judged answers to the
test queries; golden answers. Out: `data/gathered/ROUND`, with `transcripts.jsonl`, a row for each query and
round.
"""

from pathlib import Path

from apo.core.stage import run
from apo.report.collect import gather_round
from apo.report.run import read_run, write_run


def main(
    round: str,
    before: Path,
    found: Path,
    drawn: Path,
    golden: Path,
    truth: Path,
    samples_rm: Path,
    samples_base: Path,
    samples_apo: Path,
    scores_base: Path,
    scores_apo: Path,
    rjs_base: Path,
    rjs_apo: Path,
    answers_actor: Path,
    answers_base: Path,
    answers_apo: Path,
    out: Path,
) -> None:
    this = gather_round(
        round,
        metrics=[found],
        curves=[drawn],
        golden=golden,
        truth=truth,
        rm_samples=samples_rm,
        samples={"base": samples_base, "apo": samples_apo},
        scores={"base": scores_base, "apo": scores_apo},
        selected={"base": rjs_base, "apo": rjs_apo},
        answers=[answers_actor, answers_base, answers_apo],
    )
    write_run(out, read_run(before) + this)


if __name__ == "__main__":
    run(main)
