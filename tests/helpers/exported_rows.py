"""Records of every kind for the export."""

Q = "\n\nHuman: Why?\n\nAssistant:"
OTHER = "\n\nHuman: Hi\n\nAssistant: Ho\n\nHuman: “ß”\n\nAssistant:"

COMPARISONS = [
    {
        "query_id": "a",
        "query": Q,
        "responses": ["x", "y", "z"],
        "scores": [0.5, -2.0, 1e-7],
        "type": "helpful",
    },
    {"query_id": "b", "query": OTHER, "responses": ["x\n\ny", "y"], "scores": [0.0, 1.0], "type": ""},
]

GOLDEN = [
    {"query_id": "a", "query": Q, "golden": "g", "type": "helpful"},
    {"query_id": "b", "query": OTHER, "golden": "h", "type": ""},
]

SAMPLES = [
    {"query_id": "a", "query": Q, "samples": [f"s{n}" for n in range(12)], "extra": {}},
    {"query_id": "b", "query": OTHER, "samples": ["s", ""], "extra": {"hh_best": "h", "gpt4_ans": "g"}},
]

APO = {"query_id": "a", "query": Q, "responses": ["g", "x", "y"], "scores": [1.0, 0.0, 0.0], "type": "apo"}

SELECTION = {
    "query_id": "a",
    "query": Q,
    "prompt": Q,
    "completion": " s1",
    "target": "s1",
    "target_index": 1,
    "samples": ["s0", "s1", " ", "s3"],
    "scores": [0.5, 2.0, -9.0, -1.0],
    "margin": 1.5,
}

DIALOGUE = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Ho"},
    {"role": "user", "content": "\u201c\u00df\u201d"},
]
