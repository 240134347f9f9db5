"""The photos of a source in two halves."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from evsam.datasets.halves import half as half_from
from evsam.datasets.halves import half_of
from evsam.datasets.records import BrokenSample, Category, Photo, Photos


class Named(Photos):
    """Photos a to j, of which c is broken, with ids and a category."""

    remarks = ("something was left out",)
    ids = tuple(range(10, 20))
    categories = MappingProxyType({1: Category(1, "thing")})

    def __len__(self) -> int:
        return 10

    def photo(self, index: int) -> Photo:
        key = "abcdefghij"[index]
        if key == "c":
            raise BrokenSample(key, "its record ends early")
        return Photo(key, (), bytes, id=self.ids[index])


def test_each_photo_is_in_one_half() -> None:
    found = {half: half_from(Named(), half) for half in ("select", "report", "all")}  # type: ignore[arg-type]
    ids = {half: list(photos.ids) for half, photos in found.items()}
    assert sorted(ids["select"] + ids["report"]) == ids["all"] == list(range(10, 20))
    assert min(map(len, ids.values())) > 0
    for half, photos in found.items():
        assert len(photos) == len(ids[half])
        assert photos.remarks == Named.remarks
        assert photos.categories == Named.categories
        for number, one in enumerate(ids[half]):
            if one == 12:
                with pytest.raises(BrokenSample, match="c: its record ends early"):
                    photos[number]
            else:
                assert photos[number].id == one
                assert half in ("all", half_of(photos[number].key))
