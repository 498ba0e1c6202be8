"""`python -m minidl.cli`: the same as `minidl`."""

import sys

from minidl.cli import main

sys.exit(main())
