"""An external language model as a judge: the pairs, the prompts, the verdicts."""
