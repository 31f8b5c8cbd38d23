"""Style sheet, script and icon, served from memory under names that contain their own hash.

A name never changes its content, so browsers keep it for a year and a new release is a new name.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

_DIRECTORY = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Assets:
    """The files of `static/`, read once."""

    def __init__(self, directory: Path = _DIRECTORY) -> None:
        self._by_url: dict[str, tuple[bytes, str]] = {}
        self._url_of: dict[str, str] = {}
        for path in sorted(directory.iterdir()):
            if path.suffix not in _TYPES:
                continue
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:12]
            name = f"{path.stem}.{digest}{path.suffix}"
            self._by_url[name] = (content, _TYPES[path.suffix])
            self._url_of[path.name] = f"/static/{name}"

    def url(self, name: str) -> str:
        """The address of a file of `static/`; KeyError when there is none."""
        return self._url_of[name]

    async def serve(self, request: Request) -> Response:
        """Answers /static/{name}."""
        found = self._by_url.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404, "there is no such file")
        content, media_type = found
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(content, media_type=media_type, headers=headers)
