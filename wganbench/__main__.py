"""``python -m wganbench``."""

from __future__ import annotations

import sys

from wganbench.cli import main

sys.exit(main())
