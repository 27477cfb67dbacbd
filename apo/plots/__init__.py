"""Plots of the whole game: curves of all its models as tables, and the page that shows them."""
