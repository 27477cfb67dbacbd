"""apo/demo/requests.py: every piece of advice can be told from every other."""

from apo.demo.language import mentioned, word_line
from apo.demo.requests import METHODS, TIPS


def test_no_advice_is_part_of_other_advice() -> None:
    advice_list = TIPS + METHODS
    assert len(set(advice_list)) == len(advice_list)
    assert all(mentioned(word_line(advice), tuple(advice_list)) == {advice} for advice in advice_list)
