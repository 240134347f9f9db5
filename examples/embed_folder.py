"""Encode a folder of photos once, then answer prompts on any of them from several threads.

    python examples/embed_folder.py photos/ embeddings/

Photos whose embedding exists already are skipped. An embedding file holds all that a prediction needs, on any machine
that has the same weights.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import evsam

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("photos", type=Path)
parser.add_argument("embeddings", type=Path)
parser.add_argument("--model", default="nano")
arguments = parser.parse_args()

sam = evsam.load(arguments.model)
photos = sorted(p for p in arguments.photos.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
targets = {photo: arguments.embeddings / f"{photo.stem}.safetensors" for photo in photos}

missing = [photo for photo in photos if not targets[photo].exists()]
for start in range(0, len(missing), 16):
    batch = missing[start : start + 16]
    for photo, embedding in zip(batch, sam.encode(batch), strict=True):
        embedding.save(targets[photo])
print(f"encoded {len(missing)} of {len(photos)} photos")


def mask_in_the_middle(photo: Path) -> tuple[str, int]:
    """Pixels of the object in the middle of a photo. Nothing is shared between calls but the model."""
    embedding = evsam.Embedding.load(targets[photo])
    height, width = embedding.original_size
    result = sam.predict(embedding, points=[(width / 2, height / 2)])
    return photo.name, int(result.best()[0].sum())


with ThreadPoolExecutor(2) as pool:
    for name, pixels in pool.map(mask_in_the_middle, photos):
        print(f"{name}: {pixels} pixels")
