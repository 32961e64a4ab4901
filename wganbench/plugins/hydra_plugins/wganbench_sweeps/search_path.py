"""The search path: the user's YAML files come before ours of the same name."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.plugins.search_path_plugin import SearchPathPlugin

MAIN = "main"
"""Hydra's name of the folder that holds our YAML files."""


class UserFilesFirst(SearchPathPlugin):
    """Prepends the folders of the command line; other programs that use Hydra have none."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from wganbench.presets import USER_FOLDERS

        for folder in reversed(USER_FOLDERS):
            search_path.prepend("wganbench", f"file://{folder}", SearchPathQuery(provider=MAIN))
