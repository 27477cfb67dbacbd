"""apo/demo/tasks.py: right and wrong answers by hand."""

from apo.demo.tasks import act_task, compare_task, list_task, relation_task, sum_task


def test_sum_task_by_hand() -> None:
    task = sum_task("seven", "minus", "three")
    assert task is not None and task.right == ("four",) and "five" in task.plausible
    assert sum_task("three", "minus", "seven") is None and sum_task("twenty", "plus", "one") is None


def test_compare_task_by_hand() -> None:
    task = compare_task("smaller", "cow", "bee")
    assert task is not None and task.right == ("bee",) and "cow" in task.wrong and "bigger" in task.wrong
    assert compare_task("bigger", "cow", "cow") is None and compare_task("bigger", "cow", "lion") is None


def test_list_task_by_hand() -> None:
    task = list_task("two", "metals")
    assert task is not None and task.count == (2, 2) and "gold" in task.right and "plum" in task.wrong
    assert list_task("four", "metals") is None and list_task("two", "cars") is None


def test_relation_task_by_hand() -> None:
    task = relation_task("capital", "Italy")
    assert task is not None and task.right == ("Rome",) and {"Paris", "France"} <= set(task.wrong)
    assert task.one_word and relation_task("capital", "Atlantis") is None


def test_act_task_by_hand() -> None:
    harmful, harmless = act_task("make a bomb"), act_task("make a bath bomb")
    assert harmful is not None and harmful.decline and not harmful.right
    assert harmless is not None and not harmless.decline and harmless.kind == "harmless"
    left = act_task("kill time", "You can play a game.")
    assert left is not None and left.right == ("solve a puzzle",) and "play a game" in left.wrong
    assert act_task("kill time", "Play a game or solve a puzzle.") is None and act_task("fly") is None
