"""``python -m wganbench``."""

from __future__ import annotations

import sys

from wganbench.cli.app import main

sys.exit(main())
