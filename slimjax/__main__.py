"""``python -m slimjax``: the same as the ``slimjax`` script."""

import sys

from slimjax.cli.main import main

sys.exit(main())
