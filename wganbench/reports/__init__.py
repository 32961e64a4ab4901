"""Comparing runs: statistics over seeds, tables, figures, the report."""
