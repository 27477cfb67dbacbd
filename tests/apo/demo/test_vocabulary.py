"""apo/demo/vocabulary.py: every text of the demo world is inside the vocabulary."""

from apo.demo.language import words
from apo.demo.reward import MAX_REWARD, MIN_REWARD, true_reward
from apo.demo.vocabulary import VOCABULARY
from tests.helpers.demo_world import COMPARISONS, QUERIES, WORLD


def test_vocabulary_has_the_words_of_every_text() -> None:
    answers = [row["golden"] for row in WORLD.golden(QUERIES, 0.0)]
    answers += [row["response"] for row in WORLD.demonstrations(QUERIES, "test")]
    answers += [response for row in COMPARISONS for response in row["responses"]]
    queries = QUERIES * 2 + [query for query in QUERIES for _ in range(2)]
    for query, response in zip(queries, answers, strict=True):
        assert response.startswith(" ") and response[1:] == response.strip()
        assert MIN_REWARD <= true_reward(query.text, response) <= MAX_REWARD
        assert (query.text + response).isascii()
        text_words = words((query.text + response).replace("Human:", "").replace("Assistant:", ""))
        assert VOCABULARY.issuperset(text_words)
    assert len(VOCABULARY) < 900
