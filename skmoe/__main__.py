"""``python -m skmoe``: fit a mixture to a table, report on it, predict."""

import sys

from ._cli import main

if __name__ == "__main__":
    sys.exit(main())
