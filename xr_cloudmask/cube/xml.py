"""Metadata in XML, read without trusting it."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from xr_cloudmask.bounded import read_small
from xr_cloudmask.errors import FileError


def parse_xml(source: str | Path | bytes) -> Element:
    """Parse a metadata file, or its content; entity declarations (XML bombs) are refused.

    Parameters
    ----------
    source : path or bytes
        A file, or what is in it.

    Returns
    -------
    Element
        The root.

    Raises
    ------
    FileError
        No such file, one of many megabytes, not well formed, or not harmless.

    Examples
    --------
    >>> parse_xml(b"<image><level>4</level></image>").findtext("level")
    '4'
    """
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        root: Element = fromstring(source if isinstance(source, bytes) else read_small(source))
    except FileError:
        raise
    except (OSError, ParseError, ValueError, LookupError) as error:  # defusedxml's are ValueErrors, so is bad encoding
        title = f"{len(source)} bytes" if isinstance(source, bytes) else repr(str(source))
        raise FileError(
            f"{title}, which is no readable XML: {error}", "intact product metadata", "download the product again"
        ) from error
    return root
