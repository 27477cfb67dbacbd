"""The game with a pretrained chat model on real comparisons."""
