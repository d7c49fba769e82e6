from collections.abc import Iterator

class BTree:
    root_offset: int
    def cursor(self) -> Cursor: ...
    def find(
        self, objectid: int | None = None, type: int | None = None, offset: int | None = None
    ) -> tuple[object, memoryview]: ...

class Cursor:
    def iter(
        self,
        objectid: int | None = None,
        type: int | None = None,
        offset: int | None = None,
        ignore_offset: bool = False,
    ) -> Iterator[tuple[object, memoryview]]: ...
