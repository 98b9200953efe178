"""GET /openapi.json and GET /docs: the API's description for machines and, shown by Swagger UI, for people."""

import base64
import gzip
import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from service.state import State

ASSETS = Path(__file__).parent / "swagger-ui"


def inlined(script: str) -> str:
    r"""The script, safe between <script> tags: \x3C is "<" in JavaScript's strings and patterns, but never in HTML."""
    for dangerous in ("<!--", "<script", "</script"):
        script = script.replace(dangerous, r"\x3C" + dangerous[1:])
    return script


def source(inline: str) -> str:
    """The name of this inline script or style in a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"


def page() -> tuple[bytes, str]:
    """The docs page, and the Content-Security-Policy that allows its own parts and nothing else."""
    names = ("page.html", "swagger-ui.css", "swagger-ui-bundle.js", "start.js")
    html, style, bundle, start = ((ASSETS / name).read_text("utf-8") for name in names)
    bundle = inlined(bundle)
    policy = (
        f"default-src 'none'; script-src {source(bundle)} {source(start)}; style-src {source(style)}; img-src data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html.format(style=style, bundle=bundle, start=start).encode(), policy


# Made once, at the start: no request waits for it or makes the process grow.
OPENAPI = Path(__file__).with_name("openapi.json").read_bytes()
DOCS, DOCS_POLICY = page()
# A third of the bytes to hold for a client that does not read them. Level 1 takes 20 ms of a start, 6 takes 53.
DOCS_GZIP = gzip.compress(DOCS, compresslevel=1, mtime=0)


async def openapi(_: Request[State]) -> Response:
    return Response(OPENAPI, media_type="application/json")


async def docs(request: Request[State]) -> Response:
    headers = {"Content-Security-Policy": DOCS_POLICY, "Vary": "Accept-Encoding"}
    if not accepts_gzip(request.headers.get("accept-encoding", "")):
        return Response(DOCS, headers=headers, media_type="text/html")
    return Response(DOCS_GZIP, headers=headers | {"Content-Encoding": "gzip"}, media_type="text/html")


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the client lists gzip, or "*" for any coding, with a weight above 0 (RFC 9110, 12.5.3)."""
    weights = {}
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.replace(" ", "").partition(";q=")
        weights[coding] = weight.strip("0.") != "" if weight else True
    return weights.get("gzip", weights.get("*", False))
