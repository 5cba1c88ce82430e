"""`python -m hazardloop`."""

import sys

from hazardloop.service.cli import main

if __name__ == "__main__":
    sys.exit(main())
