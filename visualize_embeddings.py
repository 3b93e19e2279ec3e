"""Evaluates checkpoints on pairs: the same as the command `embviz`.

python visualize_embeddings.py --checkpoint best_model.pt --data val.json
"""

import sys

from embviz_callback.cli import main

if __name__ == "__main__":
    sys.exit(main())
