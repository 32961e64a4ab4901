"""What does weight clipping cost?"""
