"""Does a better discriminator give the generator less feedback?"""
