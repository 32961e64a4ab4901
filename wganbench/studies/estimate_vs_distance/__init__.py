"""Does the critic's loss say how far apart the distributions are?"""
