"""Does a better estimate of W1 give a better generator?"""
