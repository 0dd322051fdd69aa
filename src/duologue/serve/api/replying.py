"""A running reply to an HTTP answer: whole, or as a stream that stays alive while the model thinks."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from duologue.serve.api.answers import Shape, frame
from duologue.serve.generation import Generation
from duologue.serve.refusal import as_api_error
from duologue.serve.streams import EventStream, cancelled_on_disconnect

KEEP_ALIVE_SECONDS = 15.0
IGNORED_HEADER = "X-Duologue-Ignored"
_FIRST_TOKEN_SECONDS = 5.0  # an error within this time is an HTTP error; a later one comes inside the stream
_KEEP_ALIVE = b": keep-alive\n\n"
_DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Replying:
    """A reply and how its client wants it.

    Attributes:
        generation: The reply.
        shape: How it is written.
        is_stripped: Whether white space around a whole reply is left out.
        includes_usage: Whether a stream counts its tokens at the end.
        ignored: Fields of the request that did nothing; more are found when the model is asked.
    """

    generation: Generation
    shape: Shape
    is_stripped: bool = True
    includes_usage: bool = False
    ignored: list[str] = field(default_factory=list)

    async def whole(self, request: Request) -> Response:
        """Return the answer once the reply has ended; it stops when the client goes away.

        Raises:
            ApiError: It failed or was refused.
        """
        generation = self.generation
        async with cancelled_on_disconnect(generation, request.receive):
            while not generation.is_done:
                await generation.more(len(generation.text), timeout_seconds=KEEP_ALIVE_SECONDS)
        if generation.error:
            raise as_api_error(generation.error)
        reply = generation.reply
        assert reply is not None
        text = reply.text if reply.finish_reason == "content_filter" else generation.text
        text = text.strip() if self.is_stripped else text
        return JSONResponse(self.shape.whole(reply, text, self.ignored), headers=self._headers())

    async def stream(self, request: Request) -> Response:
        """Return the answer once the first text is there, or after a while without any.

        Raises:
            ApiError: It failed or was refused before the first text.
        """
        generation = self.generation
        async with cancelled_on_disconnect(generation, request.receive):
            await generation.more(0, timeout_seconds=_FIRST_TOKEN_SECONDS)
        if generation.error and not generation.text:
            raise as_api_error(generation.error)
        answer = EventStream(self._frames(), generation)
        for name, value in self._headers().items():
            answer.headers[name] = value
        return answer

    async def _frames(self) -> AsyncIterator[bytes]:
        generation, shape = self.generation, self.shape
        if (opening := shape.opening()) is not None:
            yield frame(opening)
        num_sent = 0
        while True:
            is_done = generation.is_done  # before the text, so that no piece is missed
            text = generation.text
            if len(text) > num_sent:
                yield frame(shape.piece(text[num_sent:]))
                num_sent = len(text)
            if is_done:
                break
            if not await generation.more(num_sent, timeout_seconds=KEEP_ALIVE_SECONDS):
                yield _KEEP_ALIVE
        if generation.error:
            yield frame(as_api_error(generation.error).body())
        else:
            assert generation.reply is not None
            yield frame(shape.closing(generation.reply, self.ignored))
            if self.includes_usage:
                yield frame(shape.counts(generation.reply))
        if shape.says_done:
            yield _DONE

    def _headers(self) -> dict[str, str]:
        return {IGNORED_HEADER: ", ".join(self.ignored)} if self.ignored else {}
