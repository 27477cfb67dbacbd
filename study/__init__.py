"""The study: the demo world over many seeds, the paper's claims against it, a map of where the game helps.

`make study` plays the pipeline itself, in copies of the repository with a common cache, and writes
`results.jsonl` and `docs/results.md`. What is played stands in `settings.yaml`.
"""
