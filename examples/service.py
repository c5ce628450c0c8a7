"""Expressions over HTTP, with Starlette (extras web, cpu): MODEL=out/C6-onnx-int8.onnx uvicorn examples.service:app

curl --data-binary @photo.jpg http://127.0.0.1:8000/
"""

import io
import os

from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import lc2fer
from lc2fer.errors import DataError

session = lc2fer.open_session(os.environ["MODEL"])  # for all threads


async def judge(request: Request) -> JSONResponse:
    try:
        picture = Image.open(io.BytesIO(await request.body()))
        answers = await run_in_threadpool(lc2fer.predict, picture, session)
    except (DataError, OSError) as error:
        return JSONResponse({"error": str(error)}, 400)
    return JSONResponse([{"expression": one.expression, "confidence": one.confidence} for one in answers])


app = Starlette(routes=[Route("/", judge, methods=["POST"])])
