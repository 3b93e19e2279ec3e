"""`python -m embviz_callback`, as `torchrun -m` wants it: the same as the command `embviz`."""

import sys

from embviz_callback.cli import main

if __name__ == "__main__":
    sys.exit(main())
