"""HTTP answers: rows as JSON or CSV with an ETag, errors as problems, and the OpenAPI description of both."""

import hashlib
import io
import json
from collections.abc import Sequence
from typing import Any, get_type_hints

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field, create_model

from candlecast.output import columns_of, plain_row, write_csv


class Problem(BaseModel):
    """What went wrong and what to do about it (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


def answer(columns: Sequence[str], rows: Sequence[Any], form: str, following: str | None) -> Response:
    """Return `rows` as JSON or CSV with an ETag.

    JSON is {"rows": [...], "next": cursor of the next page or null}; in CSV the next page's cursor is a header.
    """
    if form == "csv":
        text = io.StringIO()
        write_csv(columns, rows, text)
        body, media = text.getvalue().encode(), "text/csv; charset=utf-8"
    else:
        plain = [plain_row(row, columns) for row in rows]
        body, media = json.dumps({"rows": plain, "next": following}).encode(), "application/json"
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag} | ({} if following is None else {"X-Next-Cursor": following})
    return Response(body, media_type=media, headers=headers)


def has_already(request: Request, etag: str) -> bool:
    """Return whether the client already has the answer with this `etag`."""
    held = [tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")]
    return etag in held or held == ["*"]


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Return an error as application/problem+json (RFC 9457)."""
    body = {"type": "about:blank", "title": detail.split(":")[0][:80], "status": status, "detail": detail}
    return Response(json.dumps(body), status, headers, media_type="application/problem+json")


def described(row: type) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the answers to a question whose rows are of type `row`."""
    hints = get_type_hints(row)
    fields: dict[str, Any] = {name: (hints[name], ...) for name in columns_of(row)}
    closed = ConfigDict(extra="forbid")
    shape = create_model(row.__name__, __config__=closed, __doc__=(row.__doc__ or "").split("\n\n")[0], **fields)
    page = create_model(
        f"{row.__name__}Page",
        __config__=closed,
        rows=(list[shape], ...),
        next=(str | None, Field(description="Cursor of the next page; null on the last.")),
    )
    held = "Send it as If-None-Match to get a 304 while the rows are the same."
    etag = {"ETag": {"description": held, "schema": {"type": "string"}}}
    following = {"X-Next-Cursor": {"description": "The next page's cursor, if any.", "schema": {"type": "string"}}}
    return {
        200: {
            "model": page,
            "content": {"text/csv": {"schema": {"type": "string"}}},
            "headers": etag | following,
            "description": "A page of rows.",
        },
        304: {"description": "The rows are those of the ETag that was sent.", "headers": etag | following},
        **PROBLEMS,
    }


def _described_problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: _described_problem("The question cannot be answered; `detail` says why."),
    401: _described_problem("A bearer token is needed."),
    404: _described_problem("No such series; `detail` names those that are stored."),
    421: _described_problem("Without a token only localhost and addresses are answered."),
    503: _described_problem("The database cannot be read; `detail` says what to do."),
}
