"""The built console as files, or a plain page that says how to build it."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response

from hazardloop.service.api.access import public
from hazardloop.service.api.problems import Problem

BUILT: Final = Path(__file__).parents[1] / "console_dist"
ABSENT: Final = """<!doctype html>
<html lang="zh-CN"><head><meta charset="utf-8"><title>HazardLoop</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{font:1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}
code{background:#eee;padding:.1rem .3rem;border-radius:.2rem}</style></head>
<body><h1>HazardLoop</h1>
<p lang="zh-CN">服务正在运行，但控制台页面尚未构建。在仓库中执行 <code>./hazardloop demo</code>
会自动构建；或在 <code>console/</code> 中执行 <code>npm ci</code> 与 <code>npm run build</code>，
然后刷新本页。</p>
<p lang="en">The service runs, but its console is not built. <code>./hazardloop demo</code> in the
repository builds it; or run <code>npm ci</code> and <code>npm run build</code> in
<code>console/</code>, then load this page again.</p>
<p><a href="/docs">API</a> · <a href="/readyz">readyz</a></p></body></html>
"""


def console_router(built: Path = BUILT) -> APIRouter:
    """Routes of the console in `built`; looked for each time, as it may be built meanwhile."""
    router = APIRouter(include_in_schema=False)
    root = built.resolve()

    @router.get("/", dependencies=[public()])
    async def page() -> Response:
        """The console."""
        index = root / "index.html"
        if not index.is_file():
            return HTMLResponse(ABSENT, headers={"Cache-Control": "no-cache"})
        return FileResponse(index, headers={"Cache-Control": "no-cache"})

    def answer(path: str, cache: str) -> Response:
        wanted = (root / path).resolve() if "\x00" not in path else root
        if not wanted.is_relative_to(root) or not wanted.is_file():
            raise Problem("not_found", f"there is no page /{path[:200]}")
        return FileResponse(wanted, headers={"Cache-Control": cache})

    @router.get("/assets/{path:path}", dependencies=[public()])
    async def asset(path: str) -> Response:
        """A file whose name carries a hash of what is in it."""
        return answer(f"assets/{path}", "public, max-age=31536000, immutable")

    @router.get("/{name}", dependencies=[public()])
    async def file(name: str) -> Response:
        """A file at the top: icon, phone page."""
        return answer(name, "no-cache")

    return router
