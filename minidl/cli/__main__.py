"""`python -m minidl.cli`: the same as `minidl`."""

import sys

from minidl.__main__ import main

sys.exit(main())
