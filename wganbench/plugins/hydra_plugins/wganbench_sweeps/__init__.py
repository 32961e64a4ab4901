"""Hydra finds our sweeper and launchers here, and nowhere else: keep the imports light."""
