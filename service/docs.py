"""GET /openapi.json and GET /docs: the API described for machines and, by Swagger UI, for people."""

import base64
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
    """What a Content-Security-Policy calls this inline script or style."""
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


# Read once, at the start: nobody waits for them and nobody's request makes the process grow.
OPENAPI = Path(__file__).with_name("openapi.json").read_bytes()
DOCS, DOCS_POLICY = page()


async def openapi(_: Request[State]) -> Response:
    return Response(OPENAPI, media_type="application/json")


async def docs(_: Request[State]) -> Response:
    return Response(DOCS, headers={"Content-Security-Policy": DOCS_POLICY}, media_type="text/html")
