"""Do gradients explode or vanish through a deep critic under clipping?"""
