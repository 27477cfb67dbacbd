"""The facts of the demo world: the tables for writing and checking answers."""

from dataclasses import dataclass


def split_names(text: str) -> list[str]:
    """The names in a text."""
    return text.split()


NUMBERS = split_names(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)
LARGE_NUMBERS = ("twenty-four", "thirty", "sixty", "one hundred", "one thousand")

SIZES = split_names("bee mouse duck cat sheep cow horse whale")
"""Animals from the smallest to the largest."""

CATEGORIES = {
    "fruits": split_names("apple pear plum cherry"),
    "vegetables": split_names("carrot onion potato cabbage"),
    "metals": split_names("iron gold silver copper"),
    "tools": split_names("hammer saw drill spade"),
    "instruments": split_names("piano guitar violin flute"),
    "clothes": split_names("shirt hat coat skirt"),
}


@dataclass(frozen=True)
class Relation:
    """A table of answers by subject, with its questions and statements.

    Args:
        table: The answer of each subject; a subject includes its article.
        questions: Sentences with the slot `{subject}`.
        statements: Sentences with the slots `{subject}` and `{answer}`; the first names the subject.
    """

    table: dict[str, str]
    questions: tuple[str, ...]
    statements: tuple[str, ...]


def with_article(noun: str) -> str:
    """The noun with its indefinite article.

    >>> with_article("ant"), with_article("dog")
    ('an ant', 'a dog')
    """
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def without_article(phrase: str) -> str:
    """The phrase without its article.

    >>> without_article("the sky")
    'sky'
    """
    first, _, rest = phrase.partition(" ")
    return rest if first in ("a", "an", "the") else phrase


def _table(text: str) -> dict[str, str]:
    entries = (entry.strip().rpartition(" ") for entry in text.split(","))
    return {subject: answer for subject, _, answer in entries}


def _animal_table(text: str) -> dict[str, str]:
    return {with_article(subject): answer for subject, answer in _table(text).items()}


def _shifted(circle: list[str], step: int) -> dict[str, str]:
    return {name: circle[(i + step) % len(circle)] for i, name in enumerate(circle)}


DAYS = split_names("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = split_names("January February March April May June July August September October November December")
_OPPOSITES = _table(
    "hot cold, big small, fast slow, open closed, rich poor, young old, wet dry, full empty, early late, "
    "loud quiet"
)
_UNITS = {
    "minutes are in an hour": "sixty",
    "seconds are in a minute": "sixty",
    "hours are in a day": "twenty-four",
    "days are in a week": "seven",
    "months are in a year": "twelve",
    "eggs are in a dozen": "twelve",
    "years are in a century": "one hundred",
    "grams are in a kilogram": "one thousand",
    "centimeters are in a meter": "one hundred",
}

RELATIONS = {
    "capital": Relation(
        _table(
            "France Paris, Spain Madrid, Italy Rome, Germany Berlin, England London, Norway Oslo, "
            "Greece Athens, Russia Moscow, Japan Tokyo, Egypt Cairo"
        ),
        ("What is the capital of {subject}?", "Which city is the capital of {subject}?"),
        ("The capital of {subject} is {answer}.", "{answer} is the capital of {subject}."),
    ),
    "colour": Relation(
        _table(
            "the sky blue, grass green, snow white, coal black, a banana yellow, blood red, a tomato red, "
            "milk white, a pumpkin orange, chocolate brown"
        ),
        ("What colour is {subject}?", "Tell me the colour of {subject}."),
        ("The colour of {subject} is {answer}.", "{subject} is {answer}."),
    ),
    "sound": Relation(
        _animal_table(
            "dog woof, cat meow, cow moo, duck quack, horse neigh, sheep baa, snake hiss, bee buzz, "
            "mouse squeak"
        ),
        ("What sound does {subject} make?", "What does {subject} say?"),
        ("{subject} says {answer}.", "The sound of {subject} is {answer}."),
    ),
    "young": Relation(
        _animal_table(
            "dog puppy, cat kitten, cow calf, horse foal, sheep lamb, hen chick, bear cub, goose gosling"
        ),
        ("What is the young of {subject} called?", "What do you call the young of {subject}?"),
        ("The young of {subject} is called a {answer}.", "It is called a {answer}."),
    ),
    "opposite": Relation(
        _OPPOSITES | {answer: subject for subject, answer in _OPPOSITES.items()},
        ("What is the opposite of {subject}?", "Which word means the opposite of {subject}?"),
        ("The opposite of {subject} is {answer}.", "It is {answer}."),
    ),
    "kind": Relation(
        {name: kind[:-1] for kind, members in CATEGORIES.items() if kind != "clothes" for name in members},
        ("What kind of thing is {subject}?", "Which group does {subject} belong to?"),
        ("The word {subject} names a kind of {answer}.", "It is a kind of {answer}."),
    ),
    "legs": Relation(
        _animal_table("dog four, duck two, bee six, spider eight, snake zero, horse four"),
        ("How many legs does {subject} have?", "What number of legs does {subject} have?"),
        ("{subject} has {answer} legs.", "It has {answer} legs."),
    ),
    "unit": Relation(_UNITS, ("How many {subject}?",), ("{answer} {subject}.",)),
    **{
        f"{unit} {word}": Relation(
            _shifted(circle, step),
            (f"Which {unit} comes {word} {{subject}}?", f"What is the {unit} {word} {{subject}}?"),
            (f"The {unit} {word} {{subject}} is {{answer}}.", f"{{answer}} comes {word} {{subject}}."),
        )
        for unit, circle, word, step in (
            ("day", DAYS, "after", 1),
            ("day", DAYS, "before", -1),
            ("month", MONTHS, "after", 1),
        )
    },
}
