"""apo/model/chat_template.py: what is sampled is trained and scored, with the templates that people use."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from apo.alignment.likelihood import ResponseLikelihood
from apo.alignment.rankings import ranked_queries
from apo.core.dialogue import dialogue_to_messages
from apo.core.errors import UserError
from apo.evaluation.kl import _items
from apo.language.adopt import adopt_language_model
from apo.language.causal_lm import encode_answers
from apo.language.settings import ChatModel
from apo.model.chat_template import REFUSED, ChatTemplate
from apo.model.checkpoint import (
    load_language_model,
    load_reward_model,
    load_tokenizer,
    save_reward_model,
    start_reward_model,
)
from apo.model.encoders import language_encoder
from apo.model.encoding import Encoder
from apo.model.reward_model import compute_rewards
from apo.model.settings import Model
from apo.sampling.generation import sample_responses
from apo.sampling.prompts import encode_prompts, sampling_encoder
from apo.sampling.responses import read_responses
from apo.training.outputs import Outputs
from tests.helpers import tiny_models as tiny
from tests.helpers.chat_models import CHATML, FAMILIES, checkpoint, tokenizer

ONE = tiny.query("What is 1 plus 2?")
TWO = "\n\nHuman: Tell me a story.\n\nAssistant: Once upon a time.\n\nHuman: And then?\n\nAssistant:"
SYSTEM = f"Be brief.{ONE}"
ANSWERS = ["3, my friend.", "Once upon a time\nthere was a dog."]
READING = Model(**(tiny.READING | {"max_length": 256}))


@pytest.fixture(params=FAMILIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def adopted(name: str, folder: Path, **changes: str) -> Path:
    """A checkpoint of the family as stage backbone or actor takes it over."""
    start = checkpoint(name, folder / "start")
    values = {"chat_template": "own", "refused_dialogues": "error", "dtype": "float32"} | changes
    settings: Any = ChatModel.model_construct(**values)
    outputs = Outputs(folder / "llm", folder / "curve.csv", folder / "metrics.json")
    templates = Path("data/chat_templates")
    adopt_language_model("actor", start, settings, templates, metrics={}, outputs=outputs)
    return outputs.out


def messages(query: str, answer: str | None = None) -> list[dict[str, str]]:
    reply = [] if answer is None else [{"role": "assistant", "content": answer}]
    return dialogue_to_messages(query) + reply


def library_ids(reader: Any, dialogue: list[dict[str, str]], **options: bool) -> list[int]:
    return list(reader.apply_chat_template(dialogue, return_dict=False, **options))


def test_chat_template_gives_every_stage_the_same_prompt_ids(name: str, tmp_path: Path) -> None:
    llm = adopted(name, tmp_path)
    reader = AutoTokenizer.from_pretrained(llm)
    sampled = sampling_encoder(llm, tiny.sampling(max_prompt_tokens=256))
    learned = language_encoder(llm, load_tokenizer(llm), max_length=256, parameter="align.max_length")
    scored = start_reward_model(llm, READING, seed=1).encoder
    for query in (ONE, TWO):
        wanted = library_ids(reader, messages(query), add_generation_prompt=True)
        row = {"query_id": "q", "query": query, "samples": ANSWERS, "scores": [1.0, 0.0]}
        [prompt] = encode_prompts(sampled, [row], Counter(), where="")
        [answer] = encode_answers(learned, [(query, ANSWERS[0])], counts=Counter(), where="")
        [ranking] = ranked_queries([row], learned, Counter(), method="rrhf", where="")
        [item] = scored.items([(query, ANSWERS)], Counter(), where="")
        along = _items(sampled, [row])
        prefixes = [prompt.ids, answer.prefix, ranking.item.prefix, item.prefix, along[0].prefix]
        assert prefixes == [wanted] * 5


def test_chat_template_gives_the_ids_of_transformers(name: str, tmp_path: Path) -> None:
    llm = adopted(name, tmp_path)
    model = start_reward_model(llm, READING, seed=1)
    save_reward_model(model, tmp_path / "rm", "# A model\n")
    reader = AutoTokenizer.from_pretrained(tmp_path / "rm")
    for query in (ONE, TWO):
        [item] = model.encoder.items([(query, ANSWERS)], Counter(), where="")
        for index, answer in enumerate(ANSWERS):
            assert item.sequence(index) == library_ids(reader, messages(query, answer))


def test_chat_template_end_that_is_learned_is_the_end_that_stops(name: str, tmp_path: Path) -> None:
    llm = adopted(name, tmp_path)
    reader = AutoTokenizer.from_pretrained(llm)
    encoder = sampling_encoder(llm, tiny.sampling())
    end = reader.convert_tokens_to_ids(FAMILIES[name].turn_end)
    assert encoder.turn_end[-1] == end and end in encoder.ends and reader.eos_token_id in encoder.ends
    [answer] = encode_answers(encoder, [(ONE, "Yes.")], counts=Counter(), where="")
    assert answer.responses[0][-1] == end and set(answer.responses[0][:-1]).isdisjoint(encoder.ends)
    saved = AutoModelForCausalLM.from_pretrained(llm).generation_config.eos_token_id
    assert set([saved] if isinstance(saved, int) else saved) == set(encoder.ends)


def test_chat_template_likelihood_of_a_sample_is_the_one_that_drew_it(name: str, tmp_path: Path) -> None:
    llm = adopted(name, tmp_path)
    settings = tiny.sampling(num_samples=8, max_new_tokens=24, max_prompt_tokens=256)
    encoder = sampling_encoder(llm, settings)
    rows = [{"query_id": str(i), "query": query} for i, query in enumerate((ONE, TWO))]
    prompts = encode_prompts(encoder, rows, Counter(), where="")
    model = load_language_model(llm)
    model.lm_head.weight.data[encoder.turn_end[-1]] *= 30  # so that some responses end
    drawn = sample_responses(model, prompts, settings, seed=1, ends=encoder.ends, desc="")
    ended = [ids[-1] in encoder.ends for rows in drawn for ids in rows]
    assert any(ended) and not all(ended)
    counts: Counter[str] = Counter()
    read = read_responses(encoder, prompts, drawn, counts)
    assert counts["unfinished"] == ended.count(False)
    likelihood = ResponseLikelihood(model, pad_id=encoder.tokenizer.pad_token_id, max_length=300)
    for row, prompt, responses, all_ids in zip(rows, prompts, read, drawn, strict=True):
        kept = {"samples": [one.text for one in responses], "sample_ids": [one.ids for one in responses]}
        scores = [float(-i) for i in range(8)]
        ranked_rows = [row | kept | {"scores": scores}]
        for ranking in ranked_queries(ranked_rows, encoder, Counter(), method="rrhf", where=""):
            values = likelihood([ranking.item])[0].tolist()
            for score, ids, value in zip(ranking.labels, ranking.item.responses, values, strict=True):
                if responses[int(-score)].text in ("", *kept["samples"][: int(-score)]):
                    continue  # a blank one, or a second of the same text
                if "\n\nHuman" not in encoder.tokenizer.decode(all_ids[int(-score)]):
                    assert ids == all_ids[int(-score)][: len(ids)]
                whole = torch.tensor([prompt.ids + ids])
                logits = model(whole).logits[0].detach().log_softmax(-1)
                steps = range(len(prompt.ids), whole.shape[1])
                assert value == pytest.approx(
                    sum(float(logits[i - 1, whole[0, i]]) for i in steps), rel=1e-4, abs=1e-4
                )


def test_chat_template_gives_the_reward_of_transformers(name: str, tmp_path: Path) -> None:
    model = start_reward_model(adopted(name, tmp_path), READING, seed=1).eval()
    save_reward_model(model, tmp_path / "rm", "# A model\n")
    classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm").eval()
    reader = AutoTokenizer.from_pretrained(tmp_path / "rm")
    items = list(model.encoder.items([(ONE, ANSWERS), (TWO, ANSWERS)], Counter(), where=""))
    rewards_of_items = compute_rewards(load_reward_model(tmp_path / "rm"), items)
    for query, rewards in zip((ONE, TWO), rewards_of_items, strict=True):
        for answer, reward in zip(ANSWERS, rewards, strict=True):
            ids = reader.apply_chat_template(messages(query, answer), return_tensors="pt", return_dict=True)
            assert reward == pytest.approx(float(classifier(**ids).logits[0, 0].detach()), abs=1e-5)


def test_chat_template_takes_the_text_of_a_special_token_for_text(name: str, tmp_path: Path) -> None:
    encoder = Encoder(load_tokenizer(checkpoint(name, tmp_path / "start")), 256, "last", "", "left")
    reader = encoder.tokenizer
    token = FAMILIES[name].turn_end
    [plain] = encoder.items([(ONE, ["Yes."])], Counter(), where="")
    [item] = encoder.items([(tiny.query(f"Is {token} short?"), [f"Yes. {token} it is"])], Counter(), where="")
    number = reader.convert_tokens_to_ids(token)
    assert item.sequence(0).count(number) == plain.sequence(0).count(number)
    assert reader.decode(item.sequence(0)).count(token) == plain.sequence(0).count(number) + 2


def test_chat_template_renders_or_refuses_system_text_and_repeated_turns(name: str, tmp_path: Path) -> None:
    refuses = FAMILIES[name].refuses_system
    for policy in ("error", "drop", "merge"):
        reader = load_tokenizer(checkpoint(name, tmp_path / "start"))
        reader.init_kwargs[REFUSED] = policy
        encoder, counts = Encoder(reader, 256, "last", "", "left"), Counter[str]()
        if refuses and policy == "error":
            with pytest.raises(
                UserError, match=r"a\.jsonl: found a dialogue that the chat template.*merge or"
            ):
                list(encoder.tokenize([(SYSTEM, ["3"])], counts, where="a.jsonl"))
            continue
        [rendered] = encoder.tokenize([(SYSTEM, ["3"])], counts, where="a.jsonl")
        assert (rendered is None) == (refuses and policy == "drop")
        assert counts["dialogues_dropped"] == (rendered is None)
        assert counts["dialogues_merged"] == (refuses and policy == "merge")
        if rendered:
            text = reader.decode(rendered.query)
            assert "Be brief." in text and "What is 1 plus 2?" in text


PHI3_MINI = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}{{ '<|user|>\n' + m['content'] + '<|end|>\n<|assistant|>\n' }}"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] + '<|end|>\n' }}{% endif %}{% endfor %}"
)


def test_chat_template_refuses_a_dialogue_whose_text_it_would_leave_out(tmp_path: Path) -> None:
    """The first template of Phi-3-mini writes user and assistant, and no word of system text."""
    encoders = {}
    for policy in ("error", "drop", "merge"):
        reader = load_tokenizer(checkpoint("phi3", tmp_path / "start"))
        reader.chat_template, reader.init_kwargs[REFUSED] = PHI3_MINI, policy
        encoders[policy] = Encoder(reader, 256, "last", "", "left")
    with pytest.raises(UserError, match=r"a\.jsonl: .*\(it leaves out or moves the text of role system\)"):
        list(encoders["error"].tokenize([(SYSTEM, ["3"])], Counter(), where="a.jsonl"))
    assert list(encoders["drop"].tokenize([(SYSTEM, ["3"])], Counter(), where="")) == [None]
    [merged] = encoders["merge"].tokenize([(SYSTEM, ["3"])], Counter(), where="")
    assert merged and "Be brief." in encoders["merge"].tokenizer.decode(merged.query)
    assert all(encoders["error"].tokenize([(TWO, ["3"])], Counter(), where=""))


def test_chat_template_may_leave_out_the_thoughts_of_earlier_answers(tmp_path: Path) -> None:
    reader = load_tokenizer(checkpoint("qwen3", tmp_path / "start"))
    thoughtful = TWO.replace("Once", "<think>\nA dog?\n</think>\n\nOnce")
    [rendered] = Encoder(reader, 256, "last", "", "left").tokenize([(thoughtful, ["3"])], Counter(), where="")
    assert rendered and "A dog?" not in (text := reader.decode(rendered.query)) and "Once upon" in text


# Templates that can't be used

UNUSABLE = {
    "a syntax error": CHATML.replace("{% endfor %}", "{% endfo %}"),
    "an unknown filter": CHATML.replace("m['content']", "m['content'] | shout"),
    "no answer": "{% for m in messages %}{% if loop.first %}{{ m['content'] }}{% endif %}{% endfor %}",
    "an answer in the place of the question": CHATML.replace("messages", "messages[-1:]"),
    "another question once it is answered": "{{ messages | length }} " + CHATML,
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_chat_template_refuses_an_unusable_template(case: str) -> None:
    with pytest.raises(UserError, match=r"x: chat template: found .*; expected .*hh or to a file"):
        ChatTemplate(tokenizer("chatml"), UNUSABLE[case], where="x")


def test_chat_template_counts_a_response_joined_with_the_query() -> None:
    """`:` and `)` are one token in a text; the model is asked with `:` and draws `)`."""
    reader = load_joined()
    template = "{% for m in messages %}{{ m['role'] + ':' + m['content'] + eos_token }}{% endfor %}" + (
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    counts: Counter[str] = Counter()
    [rendered] = ChatTemplate(reader, template, where="x").encode(
        [(tiny.query("a"), [") b", "b"])], counts, where="x"
    )
    assert rendered is not None and counts["boundaries_joined"] == 1
    assert reader.convert_ids_to_tokens(rendered.responses[0]) == [")", " ", "b"]
    assert rendered.generation_prompt[-1] == reader.convert_tokens_to_ids(":")


def load_joined() -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    characters = sorted(set("assistant:user Hi)Yes.b\n</s>"))
    vocabulary = {c: i for i, c in enumerate([*characters, ":)"])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[(":", ")")]))
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>")
