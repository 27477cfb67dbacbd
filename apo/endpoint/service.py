"""A use of a model behind an endpoint: the names of its parameters and environment variables."""

from typing import NamedTuple


class Service(NamedTuple):
    """A use of an endpoint, such as the judge.

    Attributes:
        section: The section of params.yaml with `model`. It also names the log lines, the folder of the
            replies and, in capitals, the environment variables.
        opt_out: The settings that avoid all requests, for error messages.
    """

    section: str
    opt_out: str

    def variable(self, name: str) -> str:
        """The environment variable for a setting of the endpoint.

        >>> Service("judge", "").variable("URL")
        'APO_JUDGE_URL'
        """
        return f"APO_{self.section.upper()}_{name}"
