"""Searches for settings: one neutral space, equal compute for every loss."""
