"""`python -m flint`: the command line."""

import sys

from flint.cli import main

if __name__ == "__main__":
    sys.exit(main())
