"""Runs on disk: writing and reading the files of a run's folder."""
