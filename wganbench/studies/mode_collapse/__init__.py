"""What prevents lost modes, the objective or the penalty?"""
