"""`python -m relay`: the same commands as the installed `ib-relay`; a Python that is too old hears so in one line."""

import sys

if sys.version_info < (3, 11):  # in words every Python knows, before anything is read that only a newer one does
    sys.stderr.write("ib-relay needs Python 3.11 or newer; this is %d.%d\n" % sys.version_info[:2])
    sys.exit(69)

if __name__ == "__main__":
    try:
        from relay.cli import main

        main()
    except KeyboardInterrupt:  # before `main` had a word to say
        sys.exit(130)
