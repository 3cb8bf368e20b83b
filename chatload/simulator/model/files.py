"""Files sent in chats: their limits, and their content, which is kept in memory under a bounded total."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chatload.simulator.model.answers import OperationRefusedError
from chatload.simulator.model.config import SimulatorConfig


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file. media_type: as the client stated it."""

    name: str
    media_type: str
    content: bytes

    def user_data(self, file_id: str) -> dict[str, str]:
        """Return the user data of a transcript event that describes the file."""
        return {
            "file-id": file_id,
            "file-name": self.name,
            "file-size": str(len(self.content)),
            "file-type": self.media_type,
        }


class FileMemory:
    """Bytes used by the files of all chats, and their limit."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0


class ChatFiles:
    """The files of one chat. Its methods raise OperationRefusedError if a limit is reached."""

    __slots__ = ("_downloads", "_kept", "_memory", "_size", "_taken")

    def __init__(self, memory: FileMemory) -> None:
        self._memory = memory
        self._kept: dict[str, StoredFile] = {}
        self._size = self._taken = self._downloads = 0

    def limits(self, config: SimulatorConfig) -> dict[str, str]:
        """Return the limits and how much of each is used, in the vendor's names [client]."""
        return {
            "upload-max-files": str(config.file_max_count),
            "upload-max-file-size": str(config.file_max_bytes),
            "upload-max-total-size": str(config.file_max_total_bytes),
            "upload-file-types": config.file_types,
            "upload-need-agent": str(config.file_needs_agent).lower(),
            "download-attempts": str(config.file_downloads),
            "delete-file": "odd" if config.file_deletes else "none",
            "used-upload-max-files": str(len(self._kept)),
            "used-upload-max-total-size": str(self._size),
            "used-download-attempts": str(self._downloads),
        }

    def upload(self, config: SimulatorConfig, file: StoredFile) -> str:
        """Store a file; return its id."""
        size, ending = len(file.content), file.name.rpartition(".")[2].lower()
        if config.file_types != "*" and ("." not in file.name or ending not in config.file_types.split(":")):
            raise OperationRefusedError(f"file type not allowed; allowed are {config.file_types}")
        if size > config.file_max_bytes:
            raise OperationRefusedError(f"file too large; at most {config.file_max_bytes} bytes")
        if len(self._kept) >= config.file_max_count:
            raise OperationRefusedError(f"too many files; at most {config.file_max_count}")
        if self._size + size > config.file_max_total_bytes:
            raise OperationRefusedError(f"files too large together; at most {config.file_max_total_bytes} bytes")
        if self._memory.used + size > self._memory.limit:
            raise OperationRefusedError("the server has no room for files now")
        self._taken += 1
        file_id = f"{self._taken:08X}FILE"
        self._kept[file_id] = file
        self._count(size)
        return file_id

    def download(self, config: SimulatorConfig, file_id: str) -> StoredFile:
        """Return a file; counts as one download."""
        file = self._find(file_id)
        if self._downloads >= config.file_downloads:
            raise OperationRefusedError(f"too many downloads; at most {config.file_downloads}")
        self._downloads += 1
        return file

    def delete(self, config: SimulatorConfig, file_id: str) -> StoredFile:
        """Delete a file and return it."""
        file = self._find(file_id)
        if not config.file_deletes:
            raise OperationRefusedError("files may not be deleted")
        del self._kept[file_id]
        self._count(-len(file.content))
        return file

    def clear(self) -> None:
        """Delete all files."""
        self._count(-self._size)
        self._kept.clear()

    def _find(self, file_id: str) -> StoredFile:
        file = self._kept.get(file_id)
        if file is None:
            raise OperationRefusedError("no such file")
        return file

    def _count(self, size: int) -> None:
        self._size += size
        self._memory.used += size


def of_request(fields: Mapping[str, str], content: bytes | None) -> StoredFile:
    """Return the file of an upload request."""
    name = fields.get("file_name", "")
    if content is None or not name:
        raise OperationRefusedError("file is required")
    return StoredFile(name, fields.get("file_type") or "application/octet-stream", content)
