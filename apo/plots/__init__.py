"""The input of `dvc plots`: the curves of all models as tables, and the page that shows them."""
