"""The codes of issues in rows of files: their descriptions, and the actions that `data.on_issue` may set."""

from apo.core.data_issues import MALFORMED, SUSPICIOUS, IssueCode, IssueTable

ROW_ISSUES = IssueTable(
    "data.on_issue",
    [
        IssueCode("not_utf8", "A line is not UTF-8.", MALFORMED),
        IssueCode("not_json", "A line is not a JSON object.", MALFORMED),
        IssueCode("other_keys", "A row has other keys than the format of the first row.", MALFORMED),
        IssueCode("not_text", "A value is not a text, or not a list of texts.", MALFORMED),
        IssueCode("nul_character", "A text holds a NUL character.", MALFORMED),
        IssueCode("surrogate", "A text holds half of a surrogate pair.", MALFORMED),
        IssueCode("bad_score", "A score or label is not a finite number or a known value.", MALFORMED),
        IssueCode(
            "unknown_label", "A label is a number or a name that could mean either answer.", ("error",)
        ),
        IssueCode("score_count", "There is not one score for each response.", MALFORMED),
        IssueCode("bad_id", "A query_id is neither a text nor an integer.", MALFORMED),
        IssueCode("id_of_two_queries", "A query_id belongs to another query already.", MALFORMED),
        IssueCode("blank_query", "A query, or its last human turn, is blank.", MALFORMED),
        IssueCode("query_form", "A query has turns but does not end with the assistant's.", MALFORMED),
        IssueCode("separator", "A text of the authors' format does not hold exactly one <sep>.", MALFORMED),
        IssueCode("no_dialogue", "A text that should be a whole dialogue is not one.", MALFORMED),
        IssueCode("role_order", "A conversation is not a list of messages in turn.", MALFORMED),
        IssueCode("turn_mark", "A message holds the mark of a turn.", MALFORMED),
        IssueCode(
            "unsupported_message", "A message has a tool call, a file, an image or another medium.", MALFORMED
        ),
        IssueCode("missing_golden", "A golden answer is null or absent.", MALFORMED),
        IssueCode("two_golden", "A query has two different golden answers.", MALFORMED),
        IssueCode("two_queries", "A comparison has responses to different queries.", MALFORMED),
        IssueCode("empty_response", "A response is empty.", MALFORMED),
        IssueCode("single_response", "A comparison has one response.", MALFORMED),
        IssueCode("identical_responses", "All responses of a comparison are the same.", MALFORMED),
        IssueCode("no_preference", "All responses of a comparison have the same score.", MALFORMED),
        IssueCode("golden_repeated", "A query has the same golden answer again.", MALFORMED),
        IssueCode(
            "unwanted_answer",
            "A demonstration or golden answer is flagged as one that nobody wants.",
            SUSPICIOUS,
        ),
        IssueCode("unknown_flag", "A flag of such an answer is neither a known yes nor a no.", SUSPICIOUS),
        IssueCode(
            "unsupported_column",
            "A part of the dialogue is not read: a column with images, audio, video, tools or a context, "
            "or an image that a text marks.",
            SUSPICIOUS,
        ),
        IssueCode(
            "unread_column",
            "Columns that are not read, or fields of the records in a column, hold more than a fifth of the "
            "text of a row.",
            SUSPICIOUS,
        ),
        IssueCode(
            "runaway_response",
            "A response of a comparison continues with another turn; `cut` ends it there, as samples are.",
            (*SUSPICIOUS, "cut"),
        ),
        IssueCode(
            "json_text",
            "A whole response is JSON, a text in a list as Python writes it, or null, None or nan.",
            SUSPICIOUS,
        ),
        IssueCode("too_long", "A text has more than a million characters.", SUSPICIOUS),
        IssueCode("duplicate_responses", "Some responses of a comparison are the same.", SUSPICIOUS),
        IssueCode("sample_count", "A query has another number of samples than the first row.", SUSPICIOUS),
        IssueCode("replacement_character", "A text holds U+FFFD, bytes that were not decoded.", SUSPICIOUS),
        IssueCode("turn_order", "Turns of one side follow each other in a text.", SUSPICIOUS),
        IssueCode(
            "chat_template",
            "A query holds marks of a chat template, or a response ends with the end of a turn.",
            SUSPICIOUS,
        ),
    ],
)
