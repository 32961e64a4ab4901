"""A run on disk: written here, and read here."""
