"""What a model behind an endpoint is asked for: the names of its parameters and environment variables."""

from typing import NamedTuple


class Service(NamedTuple):
    """A use of an endpoint, such as the judge.

    Attributes:
        section: Of params.yaml, whose `model` is asked. It is also the name in log lines, of the folder of
            the replies and, in capitals, of the environment variables.
        opt_out: What to set where nobody shall be asked, for error messages.
    """

    section: str
    opt_out: str

    def variable(self, name: str) -> str:
        """The environment variable for a setting of the endpoint.

        >>> Service("judge", "").variable("URL")
        'APO_JUDGE_URL'
        """
        return f"APO_{self.section.upper()}_{name}"
