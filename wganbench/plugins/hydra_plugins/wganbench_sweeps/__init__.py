"""Our sweeper and launchers. Hydra only finds them here and imports them always: keep it light."""
