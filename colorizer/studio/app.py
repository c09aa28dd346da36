"""The HTTP API and the page: ``POST /colorize``, ``GET /health``, ``GET /model``, ``GET /``."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.staticfiles import StaticFiles

from colorizer.base.errors import ColorizerError, PictureError
from colorizer.look.artwork import Part
from colorizer.look.palette import MAX_COLOURS, find_main_colours
from colorizer.pictures.guard import PictureGuard
from colorizer.runtime import MAX_LINE_STRENGTH, ColorizeOptions
from colorizer.studio.limits import BusyError, Desk, Limits
from colorizer.studio.models import Models, Served

Result = TypeVar("Result")

STATIC = Path(__file__).with_name("static")
MEDIA_TYPES = {"png": "image/png", "webp": "image/webp", "ora": "image/openraster"}
RETRY_AFTER_S = 2
# everything comes from this server: a page that shows a picture has no need of others
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
PICTURE = {
    "requestBody": {
        "required": True,
        "description": "The sketch itself: PNG, JPEG, WEBP, BMP, TIFF or GIF",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "No sane picture, or a options that can't be met"},
    408: {"description": "The body took too long"},
    413: {"description": "Too many bytes or pixels"},
    429: {"description": "Too many wait already; come again"},
}
ANSWERS: dict[int | str, dict[str, Any]] = REFUSALS | {
    200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}, "description": "The picture"},
    404: {"description": "No model of this name answers"},
    503: {"description": "No model answers yet"},
}


class Drawn(NamedTuple):
    """A picture's file, and what its artist should know."""

    data: bytes
    hides_its_colours: bool


def create_app(models: Models, limits: Limits | None = None) -> FastAPI:
    """The application; it starts and ends the decoders, the models are the caller's."""
    limits = limits or Limits()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.desk = Desk(limits)
        yield
        app.state.desk.close()

    app = FastAPI(
        title="Image-Colorizer",
        summary="Colours sketches; nothing that is sent is stored.",
        lifespan=lifespan,
        # their pages load scripts from the web
        docs_url=None,
        redoc_url=None,
    )
    app.state.models = models
    app.state.limits = limits

    @app.middleware("http")
    async def secure(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers.update(SECURITY_HEADERS)
        return response

    add_routes(app)
    app.mount("/", StaticFiles(directory=STATIC, html=True), name="page")
    return app


def add_routes(app: FastAPI) -> None:
    """Everything but the page."""

    @app.get("/health")
    def health() -> dict[str, Any]:
        """Whether a model answers, and what is wrong with those that don't."""
        models: Models = app.state.models
        state = {"ok": bool(models.names), "models": list(models.names)}
        return state | {"complaints": dict(models.complaints)}

    @app.get("/model")
    def model() -> list[dict[str, Any]]:
        """The models that answer, the default first: version, metrics and card."""
        models: Models = app.state.models
        return [served.describe() for name in models.names if (served := models.get(name))]

    @app.get("/model/{name}/grid.png", responses={200: {"content": {"image/png": {}}}})
    def grid(name: str) -> Response:
        """What a model made of test pictures: sketch, generated, truth."""
        return Response(find_model(app, name).grid, media_type="image/png")

    @app.post("/colorize", openapi_extra=PICTURE, responses=ANSWERS, response_class=Response)
    async def colorize(
        request: Request,
        model: Annotated[str | None, Query(description="champion, candidate, …")] = None,
        clean: Annotated[bool, Query(description="a photo or scan → line art first")] = False,
        opaque: Annotated[bool, Query(description="lay it on white paper")] = False,
        seed: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
        palette: Annotated[str | None, Query(description="#ff8800,#2244aa")] = None,
        line_strength: Annotated[float, Query(ge=0, le=MAX_LINE_STRENGTH)] = 1.0,
        layer: Annotated[Part, Query()] = "picture",
        kind: Annotated[Literal["png", "webp", "ora"], Query(alias="format")] = "png",
    ) -> Response:
        """Colour the sketch in the body; the picture has its size and transparency."""
        served = find_model(app, model)
        body = await read_body(request, app.state.limits)
        options = ColorizeOptions(
            clean=clean, opaque=opaque, seed=seed, palette=palette, line_strength=line_strength
        )
        drawn = await at_a_desk(app, partial(draw, served, body, options, layer, kind))
        # what a header may hold is Latin-1
        label = served.label.encode("ascii", "replace").decode()
        headers = {"X-Model": label, "X-Model-Identity": served.identity[:12]}
        if drawn.hides_its_colours:
            headers["X-Hint"] = "paper-is-transparent"
        return Response(drawn.data, media_type=MEDIA_TYPES[kind], headers=headers)

    @app.post("/palette", openapi_extra=PICTURE, responses=REFUSALS)
    async def palette(
        request: Request, count: Annotated[int, Query(ge=1, le=MAX_COLOURS)] = 3
    ) -> list[str]:
        """The main colours of the picture in the body, as ``palette`` takes them."""
        body = await read_body(request, app.state.limits)
        return await at_a_desk(app, partial(find_palette, body, count))


def find_model(app: FastAPI, name: str | None) -> Served:
    """The model of this name. Raises 404 or 503."""
    models: Models = app.state.models
    served = models.get(name)
    if served:
        return served
    if not models.names:
        reasons = "; ".join(models.complaints.values()) or "none was loaded yet"
        raise HTTPException(503, f"no model answers: {reasons}")
    raise HTTPException(404, f"no model {name}; there is {', '.join(models.names)}")


async def read_body(request: Request, limits: Limits) -> bytes:
    """The whole body. Raises 400, 408 or 413, as soon as it can be known."""
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > limits.max_body_bytes:
        raise too_many_bytes(limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.max_body_bytes:
                    raise too_many_bytes(limits)
    except TimeoutError:
        raise HTTPException(408, f"the body took over {limits.body_timeout_s:g} s") from None
    if not body:
        raise HTTPException(400, "the body is empty: send the sketch in it")
    return bytes(body)


def too_many_bytes(limits: Limits) -> HTTPException:
    """413."""
    return HTTPException(
        413,
        f"too many bytes: at most {limits.max_body_bytes} are taken",
        headers={"Connection": "close"},  # the rest isn't read
    )


async def at_a_desk(app: FastAPI, work: Callable[[PictureGuard], Result]) -> Result:
    """Have something done with a decoder. Raises 400, 413 or 429."""
    desk: Desk = app.state.desk
    try:
        return await desk.work(work)
    except BusyError:
        raise HTTPException(
            429, "too many wait already; come again", headers={"Retry-After": str(RETRY_AFTER_S)}
        ) from None
    except PictureError as error:
        reason = str(error).removeprefix("the sketch: ")
        status = 413 if reason.startswith("too large") else 400
        raise HTTPException(status, reason) from None
    except (ColorizerError, ValueError) as error:
        raise HTTPException(400, str(error)) from None


def draw(
    served: Served,
    body: bytes,
    options: ColorizeOptions,
    layer: Part,
    kind: str,
    guard: PictureGuard,
) -> Drawn:
    """The file that was asked for."""
    artwork = served.colorizer.draw(body, options, guard=guard)
    return Drawn(artwork.encode(f".{kind}", layer), artwork.hides_its_colours)


def find_palette(body: bytes, count: int, guard: PictureGuard) -> list[str]:
    """The main colours of a picture, as HTML has them."""
    colours = find_main_colours(guard.open(body), count)
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours]
