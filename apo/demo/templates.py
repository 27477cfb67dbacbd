"""Phrases of the demo world: names, openings, instructions, tones, refusals."""

from apo.demo.knowledge import split_names

NAMES = split_names("Tom Anna Ben Lucy Max Emma Sam Nina Leo Clara Paul Rosa Jack Ella Adam Julia")
THINGS = split_names("apples books coins pens stamps cookies shells cards")

SLOTS = {
    "name": NAMES,
    "relative": split_names("brother sister mother father uncle aunt son daughter"),
    "job": split_names("student teacher farmer driver nurse baker singer painter"),
}

OPENINGS = (
    "Hello.",
    "Hello, I am {name}.",
    "My name is {name}.",
    "I have a question.",
    "My {relative} asked me this.",
    "I am a {job}.",
    "I am here with my {relative} {name}.",
    "My {relative} is a {job}.",
)
"""A sentence before the question that does not change the answer."""

CHATS = (
    ("Hello, are you there?", "Yes, how can I help you?"),
    ("Good morning.", "Good morning! How can I help you?"),
    ("I had a bad day.", "I am sorry to hear that."),
    ("I like talking to you.", "Thank you, that is kind."),
    ("My {relative} is called {name}.", "That is a nice name."),
    ("I work as a {job}.", "That sounds interesting."),
)
"""A first turn without a question, and the reply."""

INSTRUCTIONS = {
    "one_word": ("Answer in one word.", "Use only one word."),
    "one_sentence": ("Answer in one sentence.", "Use only one sentence."),
    "two_sentences": ("Answer in two sentences.", "Use exactly two sentences."),
    "start": ("Start with the word well.", "Let the first word be well."),
    "end": ("End with the word goodbye.", "Say goodbye at the end."),
}
STANDING = "From now on: {instruction}"
"""An instruction in its own turn, for the rest of the dialogue."""
STANDING_REPLY = "All right, I will do that."

LEADS = ("Sure,", "Of course,", "Gladly,")
CLOSINGS = ("I hope this helps.", "Thank you for asking.", "I am glad to help.")
PLAIN_SECOND = ("That is the answer.", "This is what people say.")
INSULTS = ("you fool", "you silly person")
RUDE = ("Stop asking me.", "I do not care.", "Everybody knows that.", "Leave me alone.")
APOLOGY = "I am sorry,"
POLITE_MARKS = ("sure", "of course", "gladly", "this helps", "thank you", "glad to help", "i am sorry")
RUDE_MARKS = ("you fool", "you silly", "stop asking", "not care", "everybody knows", "leave me alone")

REFUSALS = ("I can not help with that", "I will not help with that", "I can not answer that")
REFUSAL_MARKS = ("can not help", "will not help", "can not answer", "can not tell", "will not tell")
UNSURE = ("I do not know.", "That is a difficult question.", "Maybe a teacher knows it.", "I have no idea.")

DIGRESSIONS = (
    "By the way, my garden is nice today.",
    "By the way, I watched a film yesterday.",
    "By the way, the weather is nice.",
    "By the way, I like music and trains.",
)
DIGRESSION_MARK = "by the way"
