"""The HTTP API, its description at ``GET /docs``, and the page at ``GET /``."""

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from pydantic import BeforeValidator
from starlette.routing import Match
from starlette.types import Scope

from colorizer.base.errors import ColorizerError, PictureError
from colorizer.base.names import british
from colorizer.hints.dots import read_dots
from colorizer.look.artwork import Part
from colorizer.look.palette import MAX_COLOURS, find_main_colours
from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.pictures.pages import Pages
from colorizer.runtime import MAX_LINE_STRENGTH, ColorizeOptions
from colorizer.studio.api_page import draw_api_page
from colorizer.studio.body import HINTS_FIELD, FormError, Sent, advise, extract_files
from colorizer.studio.decoder_pool import DecoderPool, PoolBusyError
from colorizer.studio.limits import Limits
from colorizer.studio.models import Models, Served
from colorizer.studio.schemas import HINTS, PICTURE, SKETCH

Result = TypeVar("Result")

STATIC = Path(__file__).with_name("static")
MEDIA_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "ora": "image/openraster",
}
RETRY_AFTER_S = 2
# the page loads everything from this server
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "Not a readable picture, an invalid option or hint, or an unknown name"},
    408: {"description": "The body took too long to arrive"},
    413: {"description": "Too many bytes or pixels"},
    422: {"description": "An option out of range"},
    429: {"description": "Too many requests are waiting; try again later"},
}
RESPONSES: dict[int | str, dict[str, Any]] = ERRORS | {
    200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}, "description": "The picture"},
    404: {"description": "No model of this name is loaded"},
    503: {"description": "No model is loaded yet"},
}


class ColouredFile(NamedTuple):
    """A coloured picture's file, and what its user should know of it."""

    data: bytes
    hint: str | None
    """The header ``X-Hint``."""
    pages: Pages
    """Of the sketch's file; the first page or frame is coloured."""


def create_app(models: Models, limits: Limits | None = None) -> FastAPI:
    """The application. It starts and closes the decoders; the caller closes ``models``."""
    limits = limits or Limits()
    # browsers take no others, and Windows' registry, which Python reads, may name others
    mimetypes.add_type("text/javascript", ".js")
    mimetypes.add_type("text/css", ".css")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.pool = DecoderPool(limits)
        yield
        app.state.pool.close()

    app = FastAPI(
        title="Image-Colorizer",
        summary="Colours sketches; nothing that is sent is stored.",
        lifespan=lifespan,
        # FastAPI's pages load scripts from a CDN; ours is at /docs
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(refuse_unknown_names)],
    )
    app.state.models = models
    app.state.limits = limits

    @app.middleware("http")
    async def secure(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers.update(SECURITY_HEADERS)
        return response

    add_routes(app)
    app.mount("/", PageFiles(directory=STATIC, html=True), name="page")
    return app


class PageFiles(StaticFiles):
    """The page's files. A route of the API, by a method that it doesn't have, is HTTP 405."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file's response. Raises HTTP 404, or 405 with the methods that the route has."""
        for route in scope["app"].routes:
            if isinstance(route, APIRoute) and route.matches(scope)[0] is Match.PARTIAL:
                methods = ", ".join(sorted(route.methods or ()))
                reason = f"{scope['path']} takes {methods}, not {scope['method']}: see /docs"
                raise HTTPException(405, reason, headers={"Allow": methods})
        return await super().get_response(path, scope)


def add_routes(app: FastAPI) -> None:
    """Add the routes of the API."""

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> HTMLResponse:
        """The API for people, without scripts."""
        return HTMLResponse(draw_api_page(app.openapi(), str(request.base_url).rstrip("/")))

    @app.get("/health")
    def health() -> dict[str, Any]:
        """Whether a model is loaded, and why others are not."""
        models: Models = app.state.models
        state = {"ok": bool(models.names), "models": list(models.names)}
        return state | {"complaints": dict(models.load_errors)}

    @app.get("/model")
    def model() -> list[dict[str, Any]]:
        """The loaded models, the default first: version, metrics and card."""
        models: Models = app.state.models
        return [served.describe() for name in models.names if (served := models.get(name))]

    @app.get(
        "/model/{name}/grid.png",
        response_class=Response,
        responses={200: {"content": {"image/png": {}}, "description": "The picture"}},
    )
    def grid(
        name: str,
        identity: Annotated[str | None, Query(description="so that caches see a change")] = None,
    ) -> Response:
        """A model's test pictures: sketch, generated, truth."""
        return Response(find_model(app, name).grid, media_type="image/png")

    @app.post("/colorize", openapi_extra=SKETCH, responses=RESPONSES, response_class=Response)
    async def colorize(
        request: Request,
        model: Annotated[
            str | None, Query(description="champion, candidate, …; default: the first at /model")
        ] = None,
        clean: Annotated[bool, Query(description="make line art of a photo or scan first")] = False,
        opaque: Annotated[bool, Query(description="composite the sketch on white")] = False,
        seed: Annotated[
            int | None, Query(ge=0, lt=2**63, description="a slight variation for each number")
        ] = None,
        palette: Annotated[
            str | None,
            Query(description="replace the main colours by these: ff8800,2244aa"),
        ] = None,
        keep_skin: Annotated[bool, Query(description="the palette leaves skin as it is")] = False,
        line_strength: Annotated[
            float, Query(ge=0, le=MAX_LINE_STRENGTH, description="0: no lines, 2: twice as dark")
        ] = 1.0,
        coloured: Annotated[
            Literal["copy", "colour"],
            BeforeValidator(british),
            Query(description="a picture that is coloured already"),
        ] = "copy",
        layer: Annotated[
            Part, BeforeValidator(british), Query(description="the colours or lines alone")
        ] = "picture",
        kind: Annotated[
            Literal["png", "jpg", "webp", "ora"],
            Query(
                alias="format",
                description="jpg: on white; ora: OpenRaster, colours, lines and hints as layers",
            ),
        ] = "png",
    ) -> Response:
        """Colour the sketch in the body. The picture keeps its size and transparency.

        Of a file with several pages or frames, the first: ``X-Pages`` or ``X-Frames`` counts them.
        """
        served = find_model(app, model)
        sent = await read_body(request, app.state.limits, HINTS_FIELD)
        if sent.hints is not None:
            require_hints(served)
        try:
            options = ColorizeOptions(
                clean=clean,
                opaque=opaque,
                seed=seed,
                palette=palette,
                keep_skin=keep_skin,
                line_strength=line_strength,
                coloured=coloured,
            )
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        with advice(request, sent.picture):
            file = await run_in_pool(app, partial(draw, served, sent, options, layer, kind))
        # header values are Latin-1
        label = served.label.encode("ascii", "replace").decode()
        headers = {"X-Model": label, "X-Model-Identity": served.identity[:12]}
        if file.hint:
            headers["X-Hint"] = file.hint
        for name, number in zip(("X-Pages", "X-Frames"), file.pages, strict=True):
            if number > 1:
                headers[name] = str(number)
        return Response(file.data, media_type=MEDIA_TYPES[kind], headers=headers)

    @app.post("/palette", openapi_extra=PICTURE, responses=ERRORS)
    async def palette(
        request: Request, count: Annotated[int, Query(ge=1, le=MAX_COLOURS)] = 3
    ) -> list[str]:
        """The main colours of the picture in the body, for the option ``palette``."""
        picture = (await read_body(request, app.state.limits)).picture
        with advice(request, picture):
            return await run_in_pool(app, partial(find_palette, picture, count))

    @app.post("/hints", openapi_extra=HINTS, responses=ERRORS)
    async def hints(request: Request) -> dict[str, Any]:
        """Hints as dots, to edit them: JSON, as the field ``hints`` of ``/colorize`` takes it.

        Of an .ora, the dots that it was made with, or, if its layer was painted on since, dots that
        cover what is painted, but for a pixel at edges. ``width`` and ``height`` are null if JSON
        doesn't say them.
        """
        data = (await read_body(request, app.state.limits)).picture
        size, dots = await run_in_pool(app, lambda decoder: read_dots(data, decoder=decoder))
        width, height = size or (None, None)
        return {"width": width, "height": height, "hints": [asdict(dot) for dot in dots]}


def refuse_unknown_names(request: Request) -> None:
    """Raise HTTP 400 for a query name that the route doesn't have, or one given twice."""
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known:
            choices = f"known: {', '.join(known)}" if known else "there are none here"
            raise HTTPException(400, f"no option {name!r}; {choices}")
        if given.count(name) > 1:
            raise HTTPException(400, f"option {name} is given more than once")


def find_model(app: FastAPI, name: str | None) -> Served:
    """The model of this name. Raises HTTP 404 or 503."""
    models: Models = app.state.models
    served = models.get(name)
    if served:
        return served
    if not models.names:
        reasons = "; ".join(models.load_errors.values()) or "none was loaded yet"
        raise HTTPException(503, f"no model is loaded: {reasons}")
    raise HTTPException(404, f"no model {name}; choose from {', '.join(models.names)}")


def require_hints(served: Served) -> None:
    """Raise HTTP 400 if the model takes no hints."""
    if not served.colorizer.model.takes_hints:
        raise HTTPException(
            400,
            f"the model {served.name} takes no hints: leave them out, or choose a model with"
            " takes_hints at /model (train.hints: points trains one)",
        )


async def read_body(request: Request, limits: Limits, *fields: str) -> Sent:
    """The picture's file: the whole body, or that of a form, which can have ``fields`` besides.

    Raises HTTP 400, 408 or 413, as early as possible.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limits.max_body_bytes:
        raise too_many_bytes(limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.max_body_bytes:
                    raise too_many_bytes(limits)
    except TimeoutError:
        raise HTTPException(408, f"the body took more than {limits.body_timeout_s:g} s") from None
    try:
        sent = extract_files(bytes(body), request.headers.get("content-type", ""), fields)
    except FormError as error:
        raise HTTPException(400, str(error)) from None
    if not sent.picture:
        raise HTTPException(400, "the body is empty: send the picture's file as the body")
    return sent


@contextmanager
def advice(request: Request, body: bytes) -> Iterator[None]:
    """Add to HTTP 400 what to send instead, if the body's type says what went wrong."""
    try:
        yield
    except HTTPException as error:
        hint = advise(body, request.headers.get("content-type", ""))
        if error.status_code == 400 and hint:
            raise HTTPException(400, f"{error.detail}; {hint}") from None
        raise


def too_many_bytes(limits: Limits) -> HTTPException:
    """The response for a body over the limit: 413."""
    return HTTPException(
        413,
        f"too many bytes: at most {limits.max_body_bytes} are accepted",
        headers={"Connection": "close"},  # the rest isn't read
    )


async def run_in_pool(app: FastAPI, job: Callable[[DecoderProcess], Result]) -> Result:
    """Run a job with one of the app's decoders. Raises HTTP 400, 413 or 429."""
    pool: DecoderPool = app.state.pool
    try:
        return await pool.run(job)
    except PoolBusyError:
        raise HTTPException(
            429,
            "too many requests are waiting; try again later",
            headers={"Retry-After": str(RETRY_AFTER_S)},
        ) from None
    except PictureError as error:
        reason = str(error).removeprefix("the sketch: ")
        status = 413 if reason.removeprefix("the hints: ").startswith("too large") else 400
        raise HTTPException(status, reason) from None
    except (ColorizerError, ValueError) as error:
        raise HTTPException(400, str(error)) from None


def draw(
    served: Served,
    sent: Sent,
    options: ColorizeOptions,
    layer: Part,
    kind: str,
    decoder: DecoderProcess,
) -> ColouredFile:
    """Colour a sketch's file, and encode the layer and format that were requested."""
    decoded = served.colorizer.decode(sent.picture, decoder=decoder)
    artwork = served.colorizer.draw_decoded(decoded, options, sent.hints, decoder=decoder)
    hint = "paper-is-transparent" if artwork.hides_its_colours else None
    if artwork.is_copy:
        hint = "coloured-already"
    return ColouredFile(artwork.encode(f".{kind}", layer), hint, decoded.pages)


def find_palette(body: bytes, count: int, decoder: DecoderProcess) -> list[str]:
    """The main colours of a picture's file, as ``#rrggbb``."""
    colours = find_main_colours(decoder.open_with_alpha(body).with_alpha(), count)
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours]
