"""Both faces of every call: `Faces.call(job, "cancel")` is `job.cancel()` or `await job.acancel()`."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Literal, Self

Face = Literal["sync", "async"]


class Faces:
    """Calls by one face, the asyncio one on an event loop that lives as long as this does."""

    def __init__(self, face: Face) -> None:
        self.face = face
        self._runner = asyncio.Runner() if face == "async" else None

    def call(self, target: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        """`target.name(...)`, or `await target.aname(...)`; what is a property here may be a method there."""
        if self._runner is None:
            found = getattr(target, name)
            return found(*args, **kwargs) if callable(found) else found

        async def on_the_loop() -> Any:
            return await getattr(target, f"a{name}")(*args, **kwargs)

        return self._runner.run(on_the_loop())

    def list(self, target: Any, name: str, *args: Any) -> list[Any]:
        """All of an iterator, or of an asynchronous one."""
        if self._runner is None:
            return list(getattr(target, name)(*args))

        async def on_the_loop() -> list[Any]:
            return [item async for item in getattr(target, f"a{name}")(*args)]

        return self._runner.run(on_the_loop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            self._runner.close()
