"""What `files/specs`, `storage/elsewhere` and their tests use of fsspec."""

from typing import Any

from fsspec import core as core
from fsspec.core import OpenFile
from fsspec.spec import AbstractFileSystem as AbstractFileSystem

def filesystem(protocol: str, **storage_options: Any) -> AbstractFileSystem: ...
def open(urlpath: str, mode: str = "rb", **kwargs: Any) -> OpenFile: ...
def register_implementation(name: str, cls: type[AbstractFileSystem], clobber: bool = False) -> None: ...
