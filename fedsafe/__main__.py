"""``python -m fedsafe``: the command line."""

import sys

from fedsafe.cli import main

if __name__ == "__main__":
    sys.exit(main())
