"""The codes of data issues of tokenized comparisons, and the actions that `rm.on_issue` may set."""

from apo.core.data_issues import MALFORMED, SUSPICIOUS, IssueCode, IssueTable

TOKEN_ISSUES = IssueTable(
    "rm.on_issue",
    [
        IssueCode(
            "equal_responses",
            "Responses with different scores have the same tokens; `drop` leaves out all of them.",
            SUSPICIOUS,
        ),
        IssueCode(
            "repeated_responses",
            "Responses with the same score have the same tokens; `drop` leaves one.",
            SUSPICIOUS,
        ),
        IssueCode("golden_equals_sample", "A sample has the tokens of the golden answer.", SUSPICIOUS),
        IssueCode("empty_response", "A response has no tokens.", SUSPICIOUS),
        IssueCode("response_cut", "A response is longer than model.max_length by itself.", SUSPICIOUS),
        IssueCode(
            "query_cut_away",
            "The longest response leaves no room for a token of the query; `drop` leaves out the row.",
            SUSPICIOUS,
        ),
        IssueCode(
            "special_token_text",
            "The text of a special token, such as </s>, is written in a text. It is read as text.",
            SUSPICIOUS,
        ),
        IssueCode(
            "special_token_id",
            "The tokenizer gives a special token for a text: the token is a single character.",
            MALFORMED,
        ),
        IssueCode("unknown_tokens", "A text has more unknown tokens than rm.unknown_rate.", SUSPICIOUS),
        IssueCode(
            "lost_separator",
            "The tokenizer does not read model.separator as one token.",
            ("error", "keep"),
        ),
        IssueCode(
            "pad_is_end_token",
            "The tokenizer's pad token is its end token, which changes no reward.",
            ("error", "keep"),
        ),
    ],
)
