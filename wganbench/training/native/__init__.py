"""Training on a CPU by our own C++: a library that is built once on a machine.

`executor` says which runs it takes and holds what calls it; `library` builds it.
"""
