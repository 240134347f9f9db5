"""``python -m evsam``."""

import sys

from evsam.cli import main

if __name__ == "__main__":
    sys.exit(main())
