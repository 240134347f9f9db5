"""Encode a folder of photos once, then answer prompts on any of them from several threads.

    python examples/embed_folder.py photos/ embeddings/

Photos whose embedding exists already are skipped. An embedding file holds all that a prediction needs, on any machine
that has the same weights.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import evsam


def encode(sam: evsam.Sam, photos: list[Path], folder: Path) -> dict[Path, Path]:
    """Embedding files of all photos but the broken ones, which are named."""
    files, new = {}, 0
    for photo in photos:
        file = folder / f"{photo.name}.safetensors"
        if not file.exists():
            try:
                sam.encode(photo).save(file)
            except evsam.ImageError as error:
                print(f"skipped: {error}", file=sys.stderr)
                continue
            new += 1
        files[photo] = file
    print(f"encoded {new} of {len(photos)} photos")
    return files


def main() -> None:
    """The whole program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--model", default="nano")
    arguments = parser.parse_args()

    photos = sorted(p for p in arguments.photos.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    sam = evsam.load(arguments.model)
    files = encode(sam, photos, arguments.embeddings)

    def mask_in_the_middle(file: Path) -> int:
        """Pixels of the object in the middle of a photo. Nothing is shared between calls but the model."""
        embedding = evsam.Embedding.load(file)
        height, width = embedding.original_size
        result = sam.predict(embedding, points=[(width / 2, height / 2)])
        return int(result.best()[0].sum())

    with ThreadPoolExecutor(2) as pool:
        for photo, pixels in zip(files, pool.map(mask_in_the_middle, files.values()), strict=True):
            print(f"{photo.name}: {pixels} pixels")


if __name__ == "__main__":
    try:
        main()
    except (evsam.EvsamError, OSError) as error:  # says which argument was wrong, and how
        sys.exit(f"embed_folder.py: {error}")
