"""Training: Algorithm 1 for one run (step), for R runs at once (stack), over time (loop)."""
