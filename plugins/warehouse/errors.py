"""The two ways in which the platform refuses. The command line turns each into one line on stderr.

ClarityError      it did not work; the message says what to do      exit code 1
└── MisuseError   it was asked for in a way that can't work         exit code 2
"""


class ClarityError(Exception):
    exit_code = 1


class MisuseError(ClarityError):
    exit_code = 2
