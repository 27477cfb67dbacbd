"""token_issues.py: what is found in comparisons that are tokens, by hand, and what each action does."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers

from apo.core.data_issues import EXAMPLES, DataIssues
from apo.core.dialogue import ASSISTANT
from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from apo.model.batching import collate
from apo.model.checkpoint import load_tokenizer
from apo.model.encoders import reward_encoder
from apo.model.encoding import Encoder
from apo.model.settings import Model
from apo.reward.length_histogram import ENDS, LengthHistogram
from apo.reward.recipe import Outputs, _tokenized, train_rm
from apo.reward.settings import Apo
from apo.reward.token_checks import Comparison, TokenCheck
from apo.reward.token_issues import TOKEN_ISSUES
from tests.helpers import odd_tokenizers as odd
from tests.helpers import tiny_models as tiny

CODES = list(TOKEN_ISSUES.codes)
QUERY = tiny.query("What is 1 plus 2?")
SHORT = f"\n\nHuman: a{ASSISTANT}"


def check_of(encoder: Encoder, action: str = "keep", **changes: str) -> TokenCheck:
    """A check in which every code has one action, but for changes."""
    issues = DataIssues(TOKEN_ISSUES, dict.fromkeys(CODES, action) | changes)  # type: ignore[arg-type]
    return TokenCheck(encoder, issues, unknown_rate=0.1)


def look(
    check: TokenCheck,
    encoder: Encoder,
    responses: list[str],
    scores: list[float] | None = None,
    *,
    query: str = QUERY,
    is_apo: bool = False,
) -> tuple[list[int], dict[str, int]]:
    """Which responses stay, and what was counted."""
    [tokenized] = encoder.tokenize([(query, responses)], Counter(), where="a.jsonl", allow_blank=True)
    assert tokenized
    scores = [float(-i) for i in range(len(responses))] if scores is None else scores
    stays = check.kept_responses(Comparison(query, responses, scores, tokenized, "a.jsonl:1", is_apo))
    return stays, dict(+check.issues.counts)


def found(encoder: Encoder, *arguments: Any, action: str = "drop", **options: Any) -> Any:
    return look(check_of(encoder, action), encoder, *arguments, **options)


# Responses that are equal


def test_nothing_is_found_in_what_is_fine() -> None:
    assert found(tiny.encoder(), ["3", "4", "no"]) == ([0, 1, 2], {})


def test_two_responses_that_differ_in_what_was_cut_are_equal() -> None:
    """Room for 9 tokens beside BOS: of both only ' 1 2 3 ...' at the end is left."""
    ending = " 1 2 3 4 5 6 7 8 9"
    encoder = tiny.encoder(max_length=10)
    pair = ["Yes." + ending, "No, my friend." + ending]
    whole = tiny.encoder(max_length=100)
    assert found(whole, pair) == ([0, 1], {})
    stays, counts = look(check_of(encoder, "keep", equal_responses="drop"), encoder, pair)
    assert stays == [] and counts == {"response_cut": 2, "equal_responses": 1}
    stays, counts = look(check_of(encoder, "keep"), encoder, pair)
    assert stays == [0, 1] and counts == {"response_cut": 2, "equal_responses": 1, "query_cut_away": 1}


def test_all_copies_of_a_text_with_two_scores_go() -> None:
    assert found(tiny.encoder(), ["3", "no", "3", "4"], [2.0, 1.0, 0.0, 0.5]) == (
        [1, 3],
        {"equal_responses": 1},
    )


def test_of_copies_with_one_score_the_first_stays() -> None:
    responses, scores = ["3", "no", "no", " no ", "4", "4"], [1.0, 0.0, 0.0, 0.0, 0.5, 0.5]
    assert found(tiny.encoder(), responses, scores) == ([0, 1, 4], {"repeated_responses": 2})
    assert found(tiny.encoder(), responses, scores, action="keep")[0] == [0, 1, 2, 3, 4, 5]


def test_a_sample_that_is_the_golden_answer_goes_and_the_golden_answer_stays() -> None:
    responses, scores = ["3", "no", "3", "no"], [1.0, 0.0, 0.0, 0.0]
    check = check_of(tiny.encoder(), "keep", golden_equals_sample="drop")
    assert look(check, tiny.encoder(), responses, scores, is_apo=True) == (
        [0, 1, 3],
        {"golden_equals_sample": 1, "repeated_responses": 1},
    )
    assert check.issues.examples[0]["found"] == "responses 1, 3: '3'"


# Single texts


@pytest.mark.parametrize("blank", ["", " \n"])
def test_a_blank_response_is_empty(blank: str) -> None:
    assert found(tiny.encoder(), ["3", blank, "no"]) == ([0, 2], {"empty_response": 1})


def test_a_text_of_which_the_tokenizer_leaves_nothing_is_empty() -> None:
    """Where the space before a response is no token either."""
    tokenizer = odd.word_level()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("\u200b", "")
    encoder = Encoder(tokenizer, 64, "last", "", "left")
    assert found(encoder, ["a", "\u200b", "b"], query=SHORT) == ([0, 2], {"empty_response": 1})


def test_a_response_longer_than_the_room_is_cut() -> None:
    """'1 2 3 4 5' is ten tokens; BOS, the turn mark and ten of them are twelve."""
    long = "1 2 3 4 5"
    [item] = tiny.encoder().items([(QUERY, [long])], Counter(), where="")
    length = len(item.responses[0])
    fits, one_less = tiny.encoder(max_length=length + 3), tiny.encoder(max_length=length + 1)
    assert found(fits, [long, "no"]) == ([0, 1], {})
    stays, counts = found(one_less, [long, "no"])
    assert stays == [1] and counts == {"response_cut": 1}


def test_the_query_is_cut_away_only_when_none_of_its_tokens_is_left() -> None:
    [item] = tiny.encoder().items([(QUERY, ["1 2 3 4 5"])], Counter(), where="")
    length = len(item.responses[0])
    assert found(tiny.encoder(max_length=length + 3), ["1 2 3 4 5", "no"]) == ([0, 1], {})
    assert found(tiny.encoder(max_length=length + 2), ["1 2 3 4 5", "no"]) == (
        [],
        {"query_cut_away": 1},
    )
    assert found(tiny.encoder(max_length=length + 3, pooling="eos"), ["1 2 3 4 5", "no"])[0] == []


def test_a_query_that_only_a_dropped_response_displaced_is_back() -> None:
    encoder = tiny.encoder(max_length=10)
    check = check_of(encoder, "drop")
    assert look(check, encoder, ["no", "1 2 3 4 5 6 7 8 9", "3"]) == ([0, 2], {"response_cut": 1})


@pytest.mark.parametrize("text", ["</s>", "a <pad> b", "so <unk> it is"])
def test_the_text_of_a_special_token_is_counted(text: str) -> None:
    assert found(tiny.encoder(), ["3", text, "no"]) == ([0, 2], {"special_token_text": 1})
    assert found(tiny.encoder(), ["3", "no"], query=tiny.query(text)) == (
        [],
        {"special_token_text": 1},
    )


def test_the_separator_in_a_text_is_counted() -> None:
    tokenizer = tiny.tokenizer()
    encoder = reward_encoder(tokenizer, Model(**(tiny.READING | {"separator": "<sep>"})), where="")
    assert found(encoder, ["3 <sep> 4", "no", "3"]) == ([1, 2], {"special_token_text": 1})


def test_a_special_token_of_one_character_can_only_be_found() -> None:
    """As in the authors' LLaMA, whose pad token is the byte 0x00: the character has no other id."""
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = "<0x07>"
    encoder = Encoder(tokenizer, 64, "last", "", "left")
    assert found(encoder, ["3", "bell \x07", "no"]) == ([0, 2], {"special_token_id": 1})
    assert found(encoder, ["3", "bell <0x07>", "no"]) == ([0, 2], {"special_token_text": 1})
    assert found(encoder, ["3", "no"], query=tiny.query("\x07")) == ([], {"special_token_id": 1})


def test_the_special_tokens_of_a_chat_template_are_none_of_the_text() -> None:
    """Each turn begins and ends with one; a byte in the text that is one is found beside them."""
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = "<0x07>"
    tokenizer.chat_template = (
        "{% for m in messages %}{{ bos_token + m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ bos_token + 'assistant: ' }}{% endif %}"
    )
    encoder = Encoder(tokenizer, 64, "last", "", "left")
    assert found(encoder, ["3", "no"]) == ([0, 1], {})
    assert found(encoder, ["3", "bell \x07", "no"]) == ([0, 2], {"special_token_id": 1})
    assert found(encoder, ["3", "no"], query=tiny.query("bell \x07")) == ([], {"special_token_id": 1})


def test_unknown_tokens_above_the_rate() -> None:
    """One of ten letters unknown is a tenth, which may be; the space before the response is a token too."""
    encoder = Encoder(odd.unigram(), 64, "last", "", "left")
    assert found(encoder, ["abcdefgh\u00e9", "no"], query=SHORT) == ([0, 1], {})  # 1 of 10
    assert found(encoder, ["abcdefg\u00e9", "no", "a"], query=SHORT) == (
        [1, 2],
        {"unknown_tokens": 1},
    )  # 1 of 9
    strange = "\n\nHuman: " + "a".join("\u00e9" * 9) + ASSISTANT
    assert found(encoder, ["a", "b"], query=strange) == ([], {"unknown_tokens": 1})


def test_a_tokenizer_with_bytes_knows_everything() -> None:
    assert found(tiny.encoder(), ["\u00e9\u4e2d\U0001f600", "no"]) == ([0, 1], {})


# The tokenizer


def look_at(tokenizer: Any, *, separator: str = "", action: str = "keep") -> dict[str, int]:
    check = check_of(Encoder(tokenizer, 64, "last", separator, "left"), action)
    check.check_tokenizer("models/backbone")
    return dict(+check.issues.counts)


def test_a_separator_that_is_no_token_of_its_own() -> None:
    tokenizer = tiny.tokenizer()
    assert look_at(tokenizer, separator="<sep>") == {"lost_separator": 1}
    with pytest.raises(UserError, match=r"models/backbone: found .*'<sep>' as one token"):
        look_at(tokenizer, separator="<sep>", action="error")
    reward_encoder(tokenizer, Model(**(tiny.READING | {"separator": "<sep>"})), where="")
    assert look_at(tokenizer, separator="<sep>") == {}


def test_a_separator_that_text_around_it_splits() -> None:
    """It is in the vocabulary, and yet no text is read as it: white space before it is needed."""
    assert odd.WORDS.index("pad>") == 13
    assert look_at(odd.word_level(), separator="pad>") == {"lost_separator": 1}


def test_pad_is_end_is_noted_and_changes_no_reward(tmp_path: Path) -> None:
    model = tiny.reward_model(tmp_path / "backbone")
    tokenizer = load_tokenizer(tmp_path / "backbone")
    assert look_at(tokenizer) == {}
    texts = [(QUERY, ["3, my friend.", "no"]), (tiny.query("And?"), ["yes", "1 2 3 4"])]
    rewards = []
    for pad in ("<pad>", "</s>"):
        tokenizer.pad_token = pad
        items = list(Encoder(tokenizer, 64, "last", "", "left").items(texts, Counter(), where=""))
        with torch.inference_mode():
            rewards.append(model(collate(items, pad_id=tokenizer.pad_token_id)).tolist())
    assert look_at(tokenizer) == {"pad_is_end_token": 1}
    assert rewards[0] == rewards[1]


# Policies


def provoked(code: str) -> tuple[Encoder, dict[str, Any]]:
    """An encoder and a comparison with this issue and, for the codes of rows, no other."""
    words = Encoder(odd.word_level(), 64, "last", "", "left")
    cases: dict[str, tuple[Encoder, dict[str, Any]]] = {
        "equal_responses": (tiny.encoder(), {"responses": ["3", "3", "no", "4"]}),
        "repeated_responses": (
            tiny.encoder(),
            {"responses": ["3", "no", "no"], "scores": [1.0, 0.0, 0.0]},
        ),
        "golden_equals_sample": (tiny.encoder(), {"responses": ["3", "3", "no"], "is_apo": True}),
        "empty_response": (tiny.encoder(), {"responses": ["3", "", "no"]}),
        "response_cut": (tiny.encoder(max_length=10), {"responses": ["3", "1 2 3 4 5 6 7 8 9", "no"]}),
        "query_cut_away": (tiny.encoder(max_length=11), {"responses": ["3", "1 2 3 4 5"]}),
        "special_token_text": (tiny.encoder(), {"responses": ["3", "</s>", "no"]}),
        "special_token_id": (bell(), {"responses": ["3", "\x07", "no"]}),
        "unknown_tokens": (words, {"responses": ["a", "strange", "b"], "query": SHORT}),
    }
    return cases[code]


def bell() -> Encoder:
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = "<0x07>"
    return Encoder(tokenizer, 64, "last", "", "left")


ROW_CODES = [code for code in CODES if code not in ("lost_separator", "pad_is_end_token")]


@pytest.mark.parametrize("code", ROW_CODES)
def test_each_action(code: str) -> None:
    encoder, case = provoked(code)
    everything = list(range(len(case["responses"])))
    left = {"equal_responses": [2, 3], "repeated_responses": [0, 1], "query_cut_away": []}
    kept, counts = look(check_of(encoder, "keep"), encoder, **case)
    assert kept == everything and counts[code] == 1
    dropped, counts = look(check_of(encoder, "keep", **{code: "drop"}), encoder, **case)
    assert dropped == left.get(code, [0, 2]) and counts[code] == 1
    with pytest.raises(UserError, match=rf"a\.jsonl:1: found .*rm\.on_issue\.{code} to drop"):
        look(check_of(encoder, "keep", **{code: "error"}), encoder, **case)


@settings(max_examples=100, deadline=None)
@given(
    responses=st.lists(
        st.sampled_from(["3", "4", "no", "", "</s>", "1 2 3 4 5 6 7 8 9"]), min_size=1, max_size=6
    ),
    scores=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=6, max_size=6),
    max_length=st.sampled_from([10, 64]),
    is_apo=st.booleans(),
)
def test_what_is_left_has_none_of_what_is_dropped(
    responses: list[str], scores: list[float], max_length: int, is_apo: bool
) -> None:
    """Looked at again, nothing more is found; with `keep` everything stays and as much is counted."""
    encoder = tiny.encoder(max_length=max_length)
    scores = scores[: len(responses)]
    if is_apo:
        scores = [1.0] + [0.0] * (len(responses) - 1)
    stays, _ = found(encoder, responses, scores, is_apo=is_apo)
    kept, _ = found(encoder, responses, scores, is_apo=is_apo, action="keep")
    assert kept == list(range(len(responses)))
    if stays and (0 in stays or not is_apo):
        left = [responses[i] for i in stays], [scores[i] for i in stays]
        assert found(encoder, *left, is_apo=is_apo) == (list(range(len(stays))), {})


# LengthHistogram


def test_histogram_by_hand() -> None:
    lengths = LengthHistogram(overhead=1)
    lengths.add(3, [1, 4])  # sequences 5 and 8
    lengths.add(0, [5])  # sequence 6
    assert lengths.histogram() == [
        {"from": 0, "to": 0, "queries": 1, "responses": 0, "sequences": 0},
        {"from": 1, "to": 1, "queries": 0, "responses": 1, "sequences": 0},
        {"from": 2, "to": 2, "queries": 0, "responses": 0, "sequences": 0},
        {"from": 3, "to": 3, "queries": 1, "responses": 0, "sequences": 0},
        {"from": 4, "to": 4, "queries": 0, "responses": 1, "sequences": 0},
        {"from": 5, "to": 6, "queries": 0, "responses": 1, "sequences": 2},
        {"from": 7, "to": 8, "queries": 0, "responses": 0, "sequences": 1},
    ]


@given(st.lists(st.tuples(st.integers(0, 3000), st.lists(st.integers(0, 3000), min_size=1)), max_size=20))
def test_a_histogram_has_everything_once(items: list[tuple[int, list[int]]]) -> None:
    lengths = LengthHistogram(overhead=2)
    for query, responses in items:
        lengths.add(query, responses)
    rows = lengths.histogram()
    total = sum(len(responses) for _, responses in items)
    assert sum(row["queries"] for row in rows) == len(items)
    assert sum(row["responses"] for row in rows) == sum(row["sequences"] for row in rows) == total
    assert all(row["to"] + 1 == after["from"] for row, after in pairwise(rows))
    assert sorted(ENDS) == ENDS


# A stage


def test_a_stage_counts_drops_and_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight rows four train; the golden items lose a sample and an item."""
    from ruamel.yaml import YAML

    params = YAML(typ="safe").load((Path(__file__).parents[3] / "params.yaml").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APO_DEVICE", "cpu")
    tiny.backbone(Path("backbone"))

    def row(*responses: str, scores: list[float] | None = None) -> dict[str, Any]:
        return {
            "query": QUERY,
            "responses": list(responses),
            "scores": scores or [1.0, 0.0, 0.0][: len(responses)],
        }

    long = "1 2 3 4 5 6 7 8 9 " * 5
    human = [
        row("3", "no"),
        row("3", "3"),  # equal
        row("4", "no"),
        row("3", long),  # cut: one response is left
        row("3", long, "no"),  # cut: two are left
        row("3", "4", scores=[1.0, 1.0]),  # no pair, as before
        row("3", "\u200b\u200b"),
        row("3", ""),  # empty
    ]
    golden = [row("3", "no", "3"), row("3", "3"), row("4", "no", "no")]
    write_rows(Path("train.jsonl"), human)
    write_rows(Path("golden.jsonl"), golden)
    sections = {"model": params["model"] | {"max_length": 48}, "rm": params["rm"] | {"warmup_steps": 0}}
    Path("params.yaml").write_text(json.dumps({"seed": 1, "training": params["training"], **sections}))
    train_rm(
        "apo_rm",
        start=Path("backbone"),
        comparisons=[Path("train.jsonl")],
        adversarial_pairs=Path("golden.jsonl"),
        apo=Apo(**params["apo"]),
        outputs=Outputs(Path("rm"), Path("curves"), Path("metrics.json")),
        params=Path("params.yaml"),
    )
    metrics = json.loads(Path("metrics.json").read_text())["train_apo_rm"]
    train = metrics["train"]
    assert (train["human_pairs"], train["apo_pairs"], train["items"]) == (4, 3, 6)
    assert (train["dropped_by_issues"], train["dropped_without_pair"]) == (4, 1)
    assert train["responses_cut"] == 0
    counts = {code: count for code, count in metrics["issues"].items() if count}
    assert list(metrics["issues"]) == CODES
    assert counts == {
        "equal_responses": 1,
        "repeated_responses": 1,
        "golden_equals_sample": 2,
        "empty_response": 1,
        "response_cut": 2,
    }
    examples = list(read_rows(Path("curves/issues.jsonl")))
    assert len(examples) == 7 <= EXAMPLES
    assert examples[0] == {
        "code": "equal_responses",
        "action": "drop",
        "where": "train.jsonl:2",
        "found": "responses 1, 2: '3'",
    }
    lines = Path("curves/lengths.csv").read_text().splitlines()
    assert lines[0] == "from,to,queries,responses,sequences"
    totals = [sum(int(line.split(",")[column]) for line in lines[1:]) for column in (2, 3, 4)]
    assert totals == [10, 23, 23]  # all rows that have a pair


def test_scores_stay_with_their_responses(tmp_path: Path) -> None:
    """The first response goes, and with it the query has its place back."""
    encoder, path = tiny.encoder(max_length=40), tmp_path / "train.jsonl"
    row = {"query": QUERY, "responses": ["1 2 3 4 5 6 7 8 9 " * 5, "no", "3"], "scores": [2.0, 0.0, 1.0]}
    write_rows(path, [row])
    counts: Counter[str] = Counter()
    [one] = _tokenized(encoder, check_of(encoder, "drop"), [path], counts)
    [alone] = encoder.items([(QUERY, ["no", "3"])], Counter(), where="")
    assert (one.item, one.labels, one.pairs) == (alone, [0.0, 1.0], 1)
    assert counts == Counter(items=1, human_pairs=1, tokens=alone.unpacked_tokens)


def test_nothing_left_says_what_dropped_it(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    write_rows(path, [{"query": QUERY, "responses": ["3", "3"], "scores": [1.0, 0.0]}])
    check = check_of(tiny.encoder(), "drop")
    with pytest.raises(UserError, match=r"no comparison to train on.*dropped 1: \{'equal_responses': 1\}"):
        _tokenized(tiny.encoder(), check, [path], Counter())
