"""Fetches a file over the network: continued where it broke off, and checked before it counts.

While a download runs, what has come is in ``<file>.part``. Only a whole file that passed its check gets its name.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tqdm import tqdm

Check = Callable[[Path], None]
"""Looks at a downloaded file, and raises ValueError with the reason if it is not what it should be."""

BLOCK = 1 << 16
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
BROKEN = (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException)


class DownloadError(Exception):
    """A download that failed; the message says whether and how it can be continued."""


class Patience(NamedTuple):
    """How long a download waits, and how often it tries."""

    timeout: float = 60.0
    """Seconds without a byte after which a connection counts as broken."""
    tries: int = 5
    """Tries in a row that bring nothing new before the download gives up."""
    pause: float = 2.0
    """Seconds before the second try; doubled before each further one, up to 60."""


PATIENCE = Patience()


def fetch(
    url: str,
    path: str | Path,
    *,
    check: Check,
    patience: Patience = PATIENCE,
    progress: bool = False,
) -> Path:
    """Download a file, or go on with a download that broke off.

    Args:
        url: where it lies: https, or http on this machine itself.
        path: where it goes. If the file is there and passes its check, nothing is downloaded.
        check: is called with the finished ``.part`` file before that gets its name.
        patience: time-out and number of tries.
        progress: show a progress bar.

    Returns:
        ``path``.

    Raises:
        DownloadError: if the server cannot be reached or does not have the file, the connection breaks too often, or
            the file does not pass its check. After a failed check the ``.part`` file is removed, for whatever is
            wrong in it would stay wrong; after a broken connection it is kept, and the next call goes on with it.
        ValueError: if the address is not a safe one.
    """
    path = Path(path)
    require_safe_url(url)
    if path.exists():
        _require_good(path, check)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = partial_file(path)
    _fetch_part(url, part, patience, progress)
    try:
        check(part)
    except ValueError as error:
        part.unlink()
        raise DownloadError(
            f"What came from {url} is wrong, and was removed: {error} Try again; if it happens twice, use another "
            "source."
        ) from error
    os.replace(part, path)
    return path


def require_md5(path: Path, md5: str) -> None:
    """Refuse a file whose MD5 checksum is another one.

    Raises:
        ValueError: with both checksums.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != md5:
        raise ValueError(f"{path} is not the published file: its MD5 checksum is {found}, and should be {md5}.")


def partial_file(path: Path) -> Path:
    """Where a download is kept while it is not whole."""
    return path.with_name(path.name + ".part")


def require_safe_url(url: str) -> None:
    """Admit https everywhere, http on this machine, and nothing else.

    Raises:
        ValueError: with the address.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname and _is_this_machine(parts.hostname):
        return
    raise ValueError(f"{url} is not a safe address: it must begin with https:// (http:// only for this machine).")


def _require_good(path: Path, check: Check) -> None:
    try:
        check(path)
    except ValueError as error:
        raise DownloadError(f"{path} is there already, but is wrong: {error} Delete it and try again.") from error


def _fetch_part(url: str, part: Path, patience: Patience, progress: bool) -> None:
    """Connect again and again until the file is whole, or several tries in a row brought nothing new."""
    failures, furthest = 0, _size(part)
    while True:
        reason = _try_once(url, part, patience.timeout, progress)
        if reason is None:
            return
        failures = 0 if _size(part) > furthest else failures + 1
        furthest = max(furthest, _size(part))
        if failures >= patience.tries:
            kept = f" What has come ({_size(part)} bytes) is kept in {part}; the same command goes on from there."
            raise DownloadError(f"{url} failed {failures} times in a row: {reason}" + (kept if _size(part) else ""))
        time.sleep(min(patience.pause * 2 ** max(failures - 1, 0), 60.0))


def _try_once(url: str, part: Path, timeout: float, progress: bool) -> str | None:
    """One connection. None: the file is whole; else why it is not."""
    try:
        return None if _receive(url, part, timeout, progress) else "the connection ended before the file did."
    except urllib.error.HTTPError as error:
        if error.code not in TRY_AGAIN:
            raise DownloadError(f"{url}: the server says {error.code} {error.reason}. Is the address right?") from error
        return f"the server says {error.code} {error.reason}."
    except BROKEN as error:
        return f"{getattr(error, 'reason', None) or error or type(error).__name__}."


def _receive(url: str, part: Path, timeout: float, progress: bool) -> bool:
    """Append what the server sends to the part; whether the file is whole then."""
    start = _size(part)
    request = urllib.request.Request(url, headers={"User-Agent": "dsl-teach", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.build_opener(_SafeRedirects).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not start:
            raise
        return _was_whole(part, error.headers.get("Content-Range", ""))
    with response:
        continues = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if response.status == 206 and not continues:
            part.unlink(missing_ok=True)  # a piece nobody asked for: start over
            return False
        return _append(response, part, start if continues else 0, progress)


def _append(response: Any, part: Path, start: int, progress: bool) -> bool:
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    name = part.name.removesuffix(".part")
    with (
        part.open("ab" if start else "wb") as file,  # a server that sends the whole file again replaces the part
        tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=name, disable=not progress) as bar,
    ):
        while block := response.read(BLOCK):
            file.write(block)
            bar.update(len(block))
    return total is None or _size(part) == total


def _was_whole(part: Path, content_range: str) -> bool:
    """The server has nothing behind the end of the part: it is whole, or longer than the file and worthless."""
    if content_range == f"bytes */{_size(part)}":
        return True
    part.unlink()
    return False


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only to a safe address."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        require_safe_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
