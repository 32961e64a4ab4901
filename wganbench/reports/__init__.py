"""Comparison of runs: statistics over seeds, tables, figures and the report."""
