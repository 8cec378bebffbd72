"""`python -m diagnostics`, and the front door of both bundled forms: a Python that is too old hears so in one line.

Every Python from 2.7 on must be able to parse this file, or it would answer with a syntax error instead. `bundle`
copies it: whole into the zipapp, and on both sides of the archive into the single file.
"""

import os
import sys

OLDEST = (3, 11)  # as python_requires in setup.cfg
EX_UNAVAILABLE = 69  # sysexits.h
NEEDED = "ib-diagnose: this is Python %d.%d (%s); %d.%d or newer is needed\n"  # an old Python knows no f-string

if sys.version_info < OLDEST:
    this = (sys.version_info[0], sys.version_info[1], sys.executable or "unknown")
    sys.stderr.write(NEEDED % (this + OLDEST))
    sys.exit(EX_UNAVAILABLE)

# The archive of the single file goes here.

if __name__ == "__main__":
    try:
        from diagnostics.cli import main

        main()
    except (KeyboardInterrupt, SystemExit):  # interrupted while importing; afterwards `main` has a word to say
        # Where the interrupt went through an exec(), which every dataclass is made by, sys.exit() ends with the signal.
        os._exit(130)
