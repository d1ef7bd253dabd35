"""A response while it is made: its items, and the events that tell of them."""

import json
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from typing import Any

from cabinos.kernel.asks import Ask
from cabinos.kernel.events import Event
from cabinos.kernel.kernel import ProcessHandle
from cabinos.serve.errors import ApiError
from cabinos.serve.response_items import ASK
from cabinos.serve.sse import KEEP_ALIVE, sse
from cabinos.serve.turn import Called, Said, Turn, Usage, said
from cabinos.serve.voice import Voice

__all__ = ["ResponseStream"]

SERVER = "cabin"  # the label of Cabin's own tools
REPLACED = "not made: a plan of all calls took its place"
Item = dict[str, Any]


class ResponseStream:
    """Puts a response together from what happens in its process.

    `held`: text is kept back until its thought is complete, since it may not fit the schema; and
    one that does not is no part of the response.
    """

    def __init__(
        self,
        name: str,
        handle: ProcessHandle,
        usage: Usage,
        echo: Mapping[str, Any],
        *,
        held: bool,
        created: float | None = None,
    ) -> None:
        self.error: ApiError | None = None
        self._name = name
        self._handle = handle
        self._usage = usage
        self._echo = dict(echo)
        self._held = held
        self._created = int(time.time() if created is None else created)
        self._status = "in_progress"
        self._cut = False
        self._output: list[Item] = []
        self._text: int | None = None  # index of the message whose text comes
        self._calls: dict[str, int] = {}  # id of a call of Cabin's tools: index of its item
        self._rejected = ""  # a thought that may have to be taken back
        self._voice = Voice(handle)
        self._heard = False  # something of the thought under way
        self._number = 0

    def response(self) -> dict[str, Any]:
        """The response as it is now."""
        usage, done = self._usage, self._status not in ("in_progress", "failed")
        return {
            "id": self._name,
            "object": "response",
            "created_at": self._created,
            "status": self._status,
            "error": self._failure(),
            "incomplete_details": {"reason": "max_output_tokens"} if self._cut else None,
            **self._echo,
            "output": self._output,
            "usage": _usage(usage.input, usage.cached, usage.output) if done else None,
        }

    async def events(self, turn: Turn) -> AsyncGenerator[str]:
        """Every event of the turn as it happens; the last one tells an error, left in `error`."""
        yield self._tell("response.created", response=self.response())
        yield self._tell("response.in_progress", response=self.response())
        try:
            async for event in turn.events():
                if event is None:
                    yield KEEP_ALIVE
                    continue
                for told in self.take(event):
                    yield told
            for told in self.end(self._handle.kernel.open_asks(self._handle.pid)):
                yield told
        except ApiError as error:
            self.fail(error)
            yield self._tell("response.failed", response=self.response())

    # ---- what happens ----------------------------------------------------------------------------

    def fail(self, error: ApiError) -> None:
        """There is no answer."""
        self.error, self._status = error, "failed"

    def take(self, event: Event) -> Iterator[str]:
        """Something happened in the process; what a client is told of it."""
        if event.kind == "text" and event.data["text"] and not self._held:
            if not self._heard:
                self._voice.begin(event.data["label"])
                self._heard = True
            yield from self._add_text(self._voice.push(event.data["text"]))
        elif event.kind == "retry":
            self._heard = False
            if self._text is not None:
                yield from self._close_text("incomplete")
        elif event.kind == "thought":
            yield from self._add_thought(event.data["page"])
        elif event.kind == "result" and (index := self._calls.get(event.data["id"])) is not None:
            yield from self._add_result(index, event.data["text"], event.data["ok"])
        elif event.kind == "result" and event.data["name"] == "grant" and event.data["ok"]:
            for index in self._calls.values():  # those that were held back for a plan
                if self._output[index]["status"] == "in_progress":
                    yield from self._add_result(index, REPLACED, ok=False)

    def _add_text(self, text: str) -> Iterator[str]:
        if not text:
            return
        if self._text is None:
            self._text = len(self._output)
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            item = self._item("msg", type="message", role="assistant", content=[])
            yield self._tell("response.output_item.added", output_index=self._text, item=item)
            item["content"].append(part)
            yield self._part_told("response.content_part.added", part={**part})
        part = self._output[self._text]["content"][0]
        part["text"] += text
        yield self._part_told("response.output_text.delta", delta=text, logprobs=[])

    def _close_text(self, status: str) -> Iterator[str]:
        assert self._text is not None
        item = self._output[self._text]
        part = item["content"][0]
        item["status"] = status
        yield self._part_told("response.output_text.done", text=part["text"], logprobs=[])
        yield self._part_told("response.content_part.done", part=part)
        yield self._tell("response.output_item.done", output_index=self._text, item=item)
        self._text = None

    def _add_thought(self, page: int) -> Iterator[str]:
        thought = said(self._handle, page)
        self._cut = thought.cut
        if self._held and not thought.calls:
            self._rejected = thought.text  # shown at the end, unless another one comes
            return
        if self._held:
            yield from self._add_text(thought.text)
        else:
            yield from self._add_rest(thought, page)
        if self._text is not None:
            yield from self._close_text("incomplete" if thought.cut else "completed")
        for call in thought.calls:
            if call.by_client:
                yield from self._add_function_call(call)
            else:
                yield from self._add_own_call(call)

    def _add_rest(self, thought: Said, page: int) -> Iterator[str]:
        """What of a thought's text was not told as it came, and what is to be known of the text."""
        if not self._heard:
            self._voice.begin(thought.label, page)
            yield from self._add_text(self._voice.push(thought.text))
        yield from self._add_text(self._voice.close())
        self._heard = False
        if self._text is None:
            return
        if found := self._voice.provenance():
            self._output[self._text]["provenance"] = found

    def _add_function_call(self, call: Called) -> Iterator[str]:
        index = len(self._output)
        item = self._item("fc", type="function_call", call_id=call.id, name=call.name, arguments="")
        about = {"item_id": item["id"], "output_index": index}
        yield self._tell("response.output_item.added", output_index=index, item=item)
        kind = "response.function_call_arguments"
        yield self._tell(f"{kind}.delta", **about, delta=call.arguments)
        yield self._tell(f"{kind}.done", **about, name=call.name, arguments=call.arguments)
        item["arguments"], item["status"] = call.arguments, "completed"
        yield self._tell("response.output_item.done", output_index=index, item=item)

    def _add_own_call(self, call: Called) -> Iterator[str]:
        index = len(self._output)
        self._calls[call.id.rpartition("_")[2]] = index
        item = self._item(
            "mcp",
            type="mcp_call",
            server_label=SERVER,
            name=call.name,
            arguments=call.arguments,
            output=None,
            error=None,
        )
        about = {"item_id": item["id"], "output_index": index}
        yield self._tell("response.output_item.added", output_index=index, item=item)
        yield self._tell("response.mcp_call.in_progress", **about)
        yield self._tell("response.mcp_call_arguments.done", **about, arguments=call.arguments)

    def _add_result(self, index: int, text: str, ok: bool) -> Iterator[str]:
        item = self._output[index]
        if ok:
            item["output"], item["status"] = text, "completed"
        else:
            item["error"] = {"type": "mcp_tool_execution_error", "content": text}
            item["status"] = "failed"
        kind = "response.mcp_call.completed" if ok else "response.mcp_call.failed"
        yield self._tell(kind, item_id=item["id"], output_index=index)
        yield self._tell("response.output_item.done", output_index=index, item=item)

    def end(self, asks: Iterable[Ask]) -> Iterator[str]:
        """It has answered, or waits for these questions to be answered."""
        if self._rejected:
            yield from self._add_text(self._rejected)
        if self._text is not None:
            yield from self._close_text("incomplete" if self._cut else "completed")
        for ask in asks:
            yield from self._add_ask(ask)
        self._status = "incomplete" if self._cut else "completed"
        yield self._tell(f"response.{self._status}", response=self.response())

    def _add_ask(self, ask: Ask) -> Iterator[str]:
        """A question to the person: an approval as an item of its own, another one as text."""
        if ask.kind != "approval":
            self._voice.begin(self._handle.process.label)  # the words are the model's
            yield from self._add_text(self._voice.push(ask.question) + self._voice.close())
            yield from self._close_text("completed")
            return
        index = len(self._output)
        item = {
            "id": f"{ASK}{ask.id}",
            "type": "mcp_approval_request",
            "server_label": SERVER,
            "name": ask.detail.get("tool", ""),
            "arguments": json.dumps(ask.detail.get("arguments", {}), ensure_ascii=False),
        }
        self._output.append(item)
        yield self._tell("response.output_item.added", output_index=index, item=item)
        yield self._tell("response.output_item.done", output_index=index, item=item)

    # ---- shapes ----------------------------------------------------------------------------------

    def _item(self, prefix: str, **fields: Any) -> Item:
        name = f"{prefix}_{self._name.removeprefix('resp_')}_{len(self._output)}"
        item: Item = {"id": name, "status": "in_progress", **fields}
        self._output.append(item)
        return item

    def _part_told(self, kind: str, **fields: Any) -> str:
        """An event about the part of text of the message under way."""
        assert self._text is not None
        item = self._output[self._text]["id"]
        return self._tell(kind, item_id=item, output_index=self._text, content_index=0, **fields)

    def _tell(self, kind: str, **fields: Any) -> str:
        told = sse({"type": kind, "sequence_number": self._number, **fields}, kind)
        self._number += 1
        return told

    def _failure(self) -> dict[str, Any] | None:
        if self.error is None:
            return None
        return {"code": self.error.code or "server_error", "message": str(self.error)}


def _usage(read: int, cached: int, written: int) -> dict[str, Any]:
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }
