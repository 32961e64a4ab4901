"""Is the critic 1-Lipschitz?"""
