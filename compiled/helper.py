"""`python -m compiled.helper MODULE...`: compile the kernels of these modules into the cache, from the end.

`compiled.kernels.prepare` runs it beside itself, and ends it. It holds no lock: two processes that compile one kernel
write the same file, each in one step.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module

from compiled.kernels import compile_from_the_end

if __name__ == "__main__":
    gc.disable()  # numba makes objects by the million and this process ends soon: an eighth of its time
    for name in sys.argv[1:]:
        import_module(name)
    compile_from_the_end()
