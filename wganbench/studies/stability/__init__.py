"""How often does a loss train at all, over settings that nobody tuned?"""
