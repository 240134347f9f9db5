"""Embeddings and masks of more photos than one process should do.

``sources`` says which photos there are, ``tasks`` what is done with each, ``shards`` what is written, and ``running``
shares the work out. What is written does not depend on the number of workers.
"""

from __future__ import annotations

from evsam.distributed.running import Summary, run
from evsam.distributed.shards import read_rows
from evsam.distributed.sources import Item, find_items
from evsam.distributed.tasks import Embed, Everything, Predict

__all__ = ["Embed", "Everything", "Item", "Predict", "Summary", "find_items", "read_rows", "run"]
