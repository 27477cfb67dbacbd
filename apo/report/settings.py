"""Section `report` of params.yaml."""

from apo.core.config import CountOrZero, Section


class Report(Section):
    max_transcripts: CountOrZero
