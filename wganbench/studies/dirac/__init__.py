"""Does training converge where the equilibrium is known?"""
