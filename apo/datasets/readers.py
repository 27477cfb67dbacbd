"""Readers for external files: rows become records of this pipeline, or data issues.

Every reader is a stream that takes a path, a counter, the issues with their actions, and options. The
counter gets `rows` (read), `kept` (yielded), and `dropped_CODE` or `kept_CODE` for every issue.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from apo.core.data_issues import DataIssues
from apo.core.records import Row
from apo.datasets.file_reader import FileReader, ReadOptions
from apo.datasets.format_table import COMPARISONS, DEMONSTRATIONS, GOLDEN, SCORED_SAMPLES
from apo.datasets.parsed import ParsedRow
from apo.datasets.rows import LocatedRow
from apo.datasets.runaway import cut_invented_turn


def read_comparisons(
    path: Path, counts: Counter[str], issues: DataIssues, options: ReadOptions
) -> Iterator[Row]:
    """Comparisons: {query_id, query, responses, scores, type}; scores stay as they are."""
    reader = FileReader(path, COMPARISONS, counts, issues, options)
    for located, row, as_written in reader.rows():
        parsed = _without_runaways(reader, located, as_written)
        if parsed and reader.report_all(located, parsed, comparison_issue(parsed)):
            yield from reader.record(
                located, row, parsed.queries[0], responses=parsed.responses, scores=parsed.scores, type=""
            )


def _without_runaways(reader: FileReader, located: LocatedRow, parsed: ParsedRow) -> ParsedRow | None:
    """A comparison whose responses are cut at an invented turn, if the action is `cut`.

    Returns:
        None if the row is left out.
    """
    results = [cut_invented_turn(text) for text in parsed.responses]
    number = sum(was_cut for _, was_cut in results)
    if not number:
        return parsed
    pairs = zip(parsed.responses, results, strict=True)
    rest = next(text[len(kept) :] for text, (kept, was_cut) in pairs if was_cut)
    found = f"{number} of {len(results)} responses that go on with another turn ({rest[:60]!r})"
    if not reader.report(located, "runaway_response", found):
        return None
    if reader.issues.action("runaway_response") != "cut":
        return parsed
    reader.counts["cut_runaway"] += number
    return parsed._replace(responses=[text for text, _ in results])


def comparison_issue(parsed: ParsedRow) -> tuple[str, str] | None:
    """The code and description of what keeps a row from being a comparison."""
    responses, scores = parsed.responses, parsed.scores
    if len(set(parsed.queries)) > 1:
        return "two_queries", f"{len(set(parsed.queries))} different queries in one comparison"
    if not all(responses):
        return "empty_response", f"response {responses.index('') + 1} of {len(responses)} empty"
    if len(responses) == 1:
        return "single_response", f"one response only ({responses[0][:60]!r})"
    if len(set(responses)) == 1:
        return "identical_responses", f"{len(responses)} times the response {responses[0][:60]!r}"
    if len(set(scores)) == 1:
        return "no_preference", f"the score {scores[0]} for each response"
    if len(set(responses)) < len(responses):
        return "duplicate_responses", f"{len(responses)} responses, {len(set(responses))} of them different"
    return None


def read_golden(path: Path, counts: Counter[str], issues: DataIssues, options: ReadOptions) -> Iterator[Row]:
    """Golden answers: {query_id, query, golden, type}."""
    reader = FileReader(path, GOLDEN, counts, issues, options)
    for located, row, parsed in reader.rows():
        answer = parsed.responses[0]
        if reader.report_flag(located, row) and reader.report_all(
            located, parsed, None if answer else ("empty_response", "an empty answer")
        ):
            yield from reader.record(located, row, parsed.queries[0], golden=answer, type="")


def read_samples(path: Path, counts: Counter[str], issues: DataIssues, options: ReadOptions) -> Iterator[Row]:
    """Samples: {query_id, query, samples, extra}; samples are cut at invented turns, blank ones stay.

    A record has `source_rewards`, one for each sample, if its row has scores. `extra` holds answers of other
    models by name; they are never cut. A row with another number of samples than the first one is an issue.
    """
    reader = FileReader(path, SCORED_SAMPLES, counts, issues, options)
    expected = 0
    for located, row, parsed in reader.rows():
        samples = [reader.cut_sample(sample) for sample in parsed.responses]
        extra = {name: answer.strip() for name, answer in parsed.extra.items()}
        expected = expected or len(samples)
        count = f"{len(samples)} samples, {expected} in the first row"
        issue = ("sample_count", count) if len(samples) != expected else None
        if reader.report_all(located, parsed, issue):
            counts["blank_samples"] += samples.count("")
            rewards = {"source_rewards": parsed.scores} if parsed.scores else {}
            yield from reader.record(located, row, parsed.queries[0], samples=samples, extra=extra, **rewards)


def read_demonstrations(
    path: Path, counts: Counter[str], issues: DataIssues, options: ReadOptions
) -> Iterator[Row]:
    """Answers to learn from: {query_id, query, response}.

    A comparison gives its response with the highest score (the first of equals). Samples are all used, and
    cut at invented turns.
    """
    reader = FileReader(path, DEMONSTRATIONS, counts, issues, options)
    for located, row, parsed in reader.rows():
        is_ranked = reader.format.kind == "comparison"
        if not reader.report_all(located, parsed, comparison_issue(parsed) if is_ranked else None):
            continue
        if not is_ranked and not reader.report_flag(located, row):
            continue
        responses = [best_response(parsed.responses, parsed.scores)] if is_ranked else parsed.responses
        if reader.format.kind == "samples":
            responses = [reader.cut_sample(sample) for sample in responses]
        for response in responses:
            if response or reader.report(located, "empty_response", "an empty answer"):
                yield from reader.record(located, row, parsed.queries[0], response=response)


def best_response(responses: Sequence[str], scores: Sequence[float]) -> str:
    """The response with the highest score, the first of equals."""
    return responses[scores.index(max(scores))]
