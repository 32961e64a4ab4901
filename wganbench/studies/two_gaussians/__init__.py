"""Which distance still tells how far apart two Gaussians are?"""
