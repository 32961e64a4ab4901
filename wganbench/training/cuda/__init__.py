"""Training on a GPU by our own kernel: whole iterations of all runs of a stack in one launch.

``executor.py`` says which networks fit and how they are divided, and runs them; ``driver.py``
builds and launches. `iteration.cu` is the kernel; `tests/cuda_on_cpu.cpp` runs it
on a CPU against ``step.py``.
"""
