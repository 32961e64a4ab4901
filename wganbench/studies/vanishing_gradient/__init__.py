"""Does the generator's gradient vanish as the critic gets better?"""
