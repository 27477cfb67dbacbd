"""The study: the demo world over many seeds, the paper's claims, and the settings in which the game helps.

`make study` plays the pipeline itself, in copies of the repository with a shared cache, and writes
`results.jsonl` and `docs/results.md`. `settings.yaml` lists the games.
"""
