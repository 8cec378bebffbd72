"""`python -m relay`: the same commands as the installed `ib-relay`."""

from relay.cli import main

if __name__ == "__main__":
    main(prog_name="ib-relay")
