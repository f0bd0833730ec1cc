"""One kind of error for everything a user can get wrong: a single line that names the fix."""

import difflib
import functools
import sys
import textwrap
from collections.abc import Iterable


class UserError(ValueError):
    """Input that cannot work. The message is one line: what was wrong; what would be right."""

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))


def nearest(name: object, valid: Iterable[str]) -> str:
    """End an error line helpfully: the nearest valid names, or all of them when none is near."""
    valid = list(valid)
    near = difflib.get_close_matches(str(name), valid, n=3)
    return f"did you mean {' or '.join(near)}?" if near else f"valid: {', '.join(valid)}"


def first_line(error: BaseException) -> str:
    """The beginning of what an error says, whole words, for the brackets of a line.

    >>> first_line(ValueError("no such file\\nand much more"))
    'no such file'
    """
    said = str(error).strip().partition("\n")[0] or type(error).__name__
    return textwrap.shorten(said, 200, placeholder=" ...")


def exit_on_user_error(main):
    """Make a command-line entry point print a `UserError` as one line and exit with code 2.

    Interrupted, it says in one line that it can go on, which every long command here can: code 130.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            print("\ninterrupted; the same command goes on with what is finished", file=sys.stderr)
            raise SystemExit(130) from None

    return wrapped
