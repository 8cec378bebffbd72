"""`python -m relay`: the same commands as the installed `ib-relay`, and what ib-relay.pyz begins with.

A Python that is too old hears so in one line, in words that every Python knows.
"""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 (before anything is read that only a newer one knows)
    sys.stderr.write("ib-relay needs Python 3.11 or newer; this is %d.%d\n" % sys.version_info[:2])  # noqa: UP031
    sys.exit(69)

if __name__ == "__main__":
    try:
        from relay.cli import main

        main()
    except KeyboardInterrupt:  # before `main` had a word to say
        os._exit(130)
