"""What `dvc plots` draws: the curves of all models as tables, and the page that shows them."""
