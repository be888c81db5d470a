"""An object store through fsspec: names below one address, and errors that say what to do."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from srlm.errors import ConfigError, RunError, SrlmError

_PARTIAL = ".being-written"


class Objects:
    """What lies below `url`. Raises ConfigError for a place that cannot be used."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        with self.explained():
            self._files, self._root = _filesystem(self.url)
        self._is_folder = _is_folder(self._files)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn whatever a store raises into a RunError that says what is safe.

        Each has errors of its own (botocore's and Google's are no OSError), so no list would name them all.
        """
        try:
            yield
        except SrlmError:
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:300]
            raise RunError(
                f"store {self.url}",
                f"it cannot be read or written ({type(error).__name__}: {said})",
                "check its address and credentials (the environment's, as its own tools take them), then run "
                "the same command again: what was kept is whole, and this machine's folder is further",
            ) from error

    def sizes(self, below: str = "") -> dict[str, int]:
        """The names of all objects, or of those below one name, and how many bytes each has, as of now."""
        self._files.invalidate_cache()
        try:
            found = self._files.find(self._at(below), detail=True)
        except FileNotFoundError:
            return {}
        start = len(self._root.rstrip("/")) + 1
        sizes = {path[start:]: int(about["size"]) for path, about in found.items()}
        return {name: size for name, size in sizes.items() if not name.endswith(_PARTIAL)}

    def read(self, name: str) -> bytes:
        """All of an object; raises FileNotFoundError where there is none."""
        self._files.invalidate_cache()
        data: bytes = self._files.cat_file(self._at(name))
        return data

    def read_json(self, name: str) -> dict[str, Any]:
        """An object that is a JSON object."""
        found: dict[str, Any] = json.loads(self.read(name))
        return found

    def get(self, name: str, path: Path) -> None:
        """Copy an object into a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._files.get_file(self._at(name), str(path))

    def put(self, name: str, data: bytes, *, only_new: bool = False) -> None:
        """Write an object; with `only_new` raises FileExistsError where there is one."""
        if not only_new:
            self._write(name, lambda at: self._files.pipe_file(at, data))
        elif self._is_folder:  # fsspec looks first and writes then
            with self._files.open(self._at(name), "xb") as file:
                file.write(data)
        else:
            self._files.pipe_file(self._at(name), data, mode="create")

    def put_file(self, path: Path, name: str) -> None:
        """Write an object from a file."""
        self._write(name, lambda at: self._files.put_file(str(path), at))

    def remove(self, name: str) -> None:
        """Remove an object, or all below a name, where there is any."""
        with suppress(FileNotFoundError):
            self._files.rm(self._at(name), recursive=True)

    def _write(self, name: str, write: Callable[[str], None]) -> None:
        """An object is there whole or not at all; a file is when it gets its name at the end."""
        at = self._at(name)
        if not self._is_folder:
            write(at)
            return
        partial = f"{at}.{uuid.uuid4().hex}{_PARTIAL}"  # others may write the same object
        write(partial)
        self._files.mv(partial, at)

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}" if name else str(self._root)


def _is_folder(files: Any) -> bool:
    return "file" in files.protocol


def _filesystem(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(url)
        if _is_folder(files):  # alone among all, a folder needs the folders in it
            files, root = fsspec.core.url_to_fs(url, auto_mkdir=True)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"--store {url}",
            f"no file system for it is installed ({error})",
            "install the one that fsspec names: pip install 'srlm[s3]' for s3://, gcsfs for gs://, adlfs for abfs://",
        ) from error
    return files, root
