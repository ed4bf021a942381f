"""Answers kept in memory, compressed as they were first sent, until anything is committed to the database."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from candlecast.http.answers import has_already
from storage.database.watched import Watched

MOST_BYTES = 32 * 1024 * 1024
# The memory of a kept answer in addition to its body and its question.
OVERHEAD_BYTES = 2048

Question = tuple[str, bytes, bool, Hashable]


@dataclass(frozen=True)
class Answer:
    """An answer as it is sent: its body may be compressed, as its headers say."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class KeptAnswers:
    """ASGI middleware: answers of paths that `is_kept` are made once, and again when the database or `period` changes.

    A question that is asked several times at once is answered once too. A client that has the answer already, by its
    ETag, gets a 304. The oldest answers are dropped when all together take more than `most_bytes`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        database: Watched,
        is_kept: Callable[[str], bool],
        period: Callable[[str], Hashable] = lambda _path: 0,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._app = app
        self._database = database
        self._is_kept = is_kept
        self._period = period
        self._most_bytes = most_bytes
        self._state: Hashable = None
        # In the order in which they were last asked for.
        self._kept: dict[Question, Answer] = {}
        self._under_way: dict[tuple[Hashable, Question], asyncio.Task[Answer]] = {}
        self.bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "GET" or not self._is_kept(scope["path"]):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        packed = "gzip" in request.headers.get("Accept-Encoding", "")
        question = (scope["path"], scope["query_string"], packed, self._period(scope["path"]))
        answer = await self._answer(question, scope)
        status, headers, body = answer.status, answer.headers, answer.body
        etag = headers.get(b"etag")
        if status == 200 and etag is not None and has_already(request, etag.decode()):
            status, body = 304, b""
            headers = {name: value for name, value in headers.items() if not name.startswith(b"content-")}
        await send({"type": "http.response.start", "status": status, "headers": list(headers.items())})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, question: Question, scope: Scope) -> Answer:
        state = self._database.state_at_once() or await run_in_threadpool(self._database.state)
        if state is None:
            return await self._ask(scope)
        if state != self._state:
            self._state, self._kept, self.bytes = state, {}, 0
        kept = self._kept.pop(question, None)
        if kept is not None:
            self._kept[question] = kept
            return kept
        asked = self._under_way.get((state, question))
        if asked is None:
            asked = asyncio.create_task(self._ask_and_keep(state, question, scope))
            self._under_way[state, question] = asked
        # Other requests may wait for the same task, so a cancelled request must not cancel it.
        return await asyncio.shield(asked)

    async def _ask_and_keep(self, state: Hashable, question: Question, scope: Scope) -> Answer:
        try:
            answer = await self._ask(scope)
        finally:
            del self._under_way[state, question]
        if answer.status == 200 and state == self._state:
            self._kept[question] = answer
            self.bytes += _bytes(question, answer)
            while self.bytes > self._most_bytes:
                oldest = next(iter(self._kept))
                self.bytes -= _bytes(oldest, self._kept.pop(oldest))
        return answer

    async def _ask(self, scope: Scope) -> Answer:
        start: Message = {}
        body = bytearray()

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                body.extend(message.get("body", b""))

        await self._app(dict(scope), receive, send)
        return Answer(start["status"], dict(start["headers"]), bytes(body))


def _bytes(question: Question, answer: Answer) -> int:
    path, query, *_ = question
    return len(path.encode()) + len(query) + len(answer.body) + OVERHEAD_BYTES
