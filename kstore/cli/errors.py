"""How a command ends that could not do what was asked: one line that says what to do, and a status for scripts.

0  done; for `log verify`: sound
1  refused, failed or timed out; for `log verify`: damage was found
2  the command line is wrong, or what it names cannot be read
"""

FAILED = 1
USAGE = 2


class CommandError(Exception):
    """Ends the command with one line on standard error."""

    status = FAILED


class UsageError(CommandError):
    """The command line, or a file that it names, is not what the command needs."""

    status = USAGE
