"""The ways in which the platform refuses. The command line turns each into one line on stderr.

ClarityError      it did not work; the message says what to do      exit code 1
├── NotNow        it works later, without anybody doing anything    exit code 1
└── MisuseError   it was asked for in a way that can't work         exit code 2
"""

from datetime import datetime


class ClarityError(Exception):
    exit_code = 1


class NotNow(ClarityError):
    """Not before `until`. Whoever runs it need not sit there until then."""

    def __init__(self, message: str, until: datetime) -> None:
        super().__init__(message)
        self.until = until


class MisuseError(ClarityError):
    exit_code = 2
