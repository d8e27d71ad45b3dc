"""``python -m slimjax.cli``: the same as the ``slimjax`` script."""

import sys

from slimjax.cli.main import main

sys.exit(main())
