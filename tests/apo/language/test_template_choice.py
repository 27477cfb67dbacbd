"""apo/language/template_choice.py: own, hh or a file; dates stand still; what is refused is written down."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.language.settings import Actor
from apo.language.template_choice import choose_template
from apo.model.chat_template import ChatTemplate
from apo.model.checkpoint import load_tokenizer
from apo.model.hh_template import hh_template
from tests.helpers import tiny_models as tiny
from tests.helpers.small_repo import ROOT

FOLDER = Path("data/chat_templates")
TURNS = (
    "{% for m in messages %}{{ bos_token + m['role'] + ':' + m['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ bos_token + 'assistant:' }}{% endif %}"
)

TEMPLATES = Path("data/chat_templates")


def settings(choice: str, refused: str = "error") -> Actor:
    values = {"start": "x", "chat_template": choice, "refused_dialogues": refused, "max_length": 64}
    actor: Actor = tiny.optimizer(Actor, **values)
    return actor


def chosen(choice: str, template: Any = None, **options: Any) -> tuple[Any, dict[str, int]]:
    """The tokenizer, and the metrics."""
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template
    return tokenizer, choose_template(tokenizer, settings(choice, **options), TEMPLATES, section="actor")


def rendered(tokenizer: Any) -> str:
    text: str = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    return text


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of templates, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / FOLDER).mkdir(parents=True)
    return tmp_path / FOLDER


def test_choose_template_own_is_that_of_the_checkpoint() -> None:
    tokenizer, counts = chosen("own", TURNS)
    assert tokenizer.chat_template == TURNS and counts == {}


def test_choose_template_own_is_the_hh_form_where_there_is_none() -> None:
    assert chosen("own")[0].chat_template == hh_template()


def test_choose_template_own_is_the_default_one_of_several() -> None:
    several = {"tool_use": "{{ 'tools' }}", "default": TURNS}
    assert chosen("own", several)[0].chat_template == TURNS
    assert chosen("own", {"chat": TURNS, "rag": "x"})[0].chat_template == TURNS


def test_choose_template_hh_replaces_the_own_template() -> None:
    assert chosen("hh", TURNS)[0].chat_template == hh_template()


@pytest.mark.parametrize("name", ["mine.jinja", f"{FOLDER}/mine.jinja"])
def test_choose_template_takes_a_file_or_a_folder_and_file(folder: Path, name: str) -> None:
    (folder / "mine.jinja").write_text(TURNS + "\u00e9", encoding="utf-8")
    assert chosen(name, "{{ 'own' }}")[0].chat_template == TURNS + "\u00e9"


@pytest.mark.parametrize(
    "name", ["other.jinja", "../mine.jinja", "/tmp/mine.jinja", "sub/mine.jinja", "chatml", "", "."]
)
def test_choose_template_refuses_a_missing_file_or_one_elsewhere(folder: Path, name: str) -> None:
    """DVC does not watch another folder: a change there would go unseen."""
    (folder / "mine.jinja").write_text(TURNS)
    (folder.parent / "mine.jinja").write_text(TURNS)
    with pytest.raises(UserError) as caught:
        chosen(name)
    assert str(caught.value).startswith(
        f"params.yaml: actor.chat_template: found {name!r}; "
        f"expected own, hh, or a file of {FOLDER}: mine.jinja; put the Jinja file into {FOLDER}"
    )


def test_choose_template_names_a_folder_without_templates(folder: Path) -> None:
    folder.rmdir()
    with pytest.raises(UserError, match="there is none"):
        chosen("mine.jinja")


def test_choose_template_refuses_a_file_that_is_not_utf_8(folder: Path) -> None:
    (folder / "mine.jinja").write_bytes(b"{{ '\xe9' }}")
    with pytest.raises(UserError, match=r"mine\.jinja: found .* at byte 4; expected UTF-8"):
        chosen("mine.jinja")


def test_choose_template_fixes_the_date_of_a_template() -> None:
    """Both formats, once and again; the day of the run would give other ids tomorrow."""
    dated = (
        "{%- if strftime_now is defined %}{%- set today = strftime_now('%d %b %Y') %}{%- endif %}"
        '{{- bos_token + today + " " + strftime_now( "%Y-%m-%d" ) + " " + strftime_now(\'%d %b %Y\') + " " }}'
        + TURNS
    )
    tokenizer, counts = chosen("own", dated)
    assert counts == {"chat_template_dates": 3}
    assert rendered(tokenizer) == "<s>26 Jul 2024 2024-07-26 26 Jul 2024 <s>user:Hi</s>"
    again = tiny.tokenizer()
    again.chat_template = tokenizer.chat_template
    assert rendered(again) == rendered(tokenizer)


def test_choose_template_keeps_a_template_taken_before() -> None:
    """The actor's stage takes over what the backbone's wrote."""
    first, _ = chosen("own", "{{ strftime_now('%Y') }}" + TURNS)
    second, _ = chosen("own", first.chat_template)
    assert rendered(second) == rendered(first) == "2024<s>user:Hi</s>"


@pytest.mark.parametrize("refused", ["error", "drop", "merge"])
def test_choose_template_saves_the_action_for_refused_dialogues(tmp_path: Path, refused: str) -> None:
    tokenizer, _ = chosen("hh", refused=refused)
    tiny.language_model().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.init_kwargs["refused_dialogues"] == refused
    assert again.chat_template == hh_template()


@pytest.mark.parametrize("path", sorted((ROOT / FOLDER).glob("*.jinja")), ids=lambda path: path.name)
def test_choose_template_can_use_every_committed_template(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    tokenizer, _ = chosen(path.name)
    template = ChatTemplate(tokenizer, tokenizer.chat_template, where=path.name)
    assert template.learned_end((2,)) == [2]
