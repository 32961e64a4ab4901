"""Is the score of the critic the realness of a single sample?"""
