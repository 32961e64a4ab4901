"""Training on a CPU by our own C++, a library that is built once on each machine.

`executor` decides which runs it trains, and calls it; `layout` mirrors its structures; `library`
builds it.
"""
