"""Progress of long work: a live bar in a terminal, a line now and then elsewhere. One event sink draws it all."""

import contextlib
import time
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from duologue.cli.output import Output
from duologue.engine import Event, OnEvent

_LINE_EVERY_SECONDS = 15.0


@contextlib.contextmanager
def show_progress(out: Output) -> Iterator[OnEvent]:
    """Yield a sink that draws events until the block ends."""
    console = out.progress_console
    if console.is_terminal:
        with _bar(console) as progress:
            yield _TerminalSink(progress)
    else:
        yield _LineSink(console)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"),
        console=console,
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Rate:
    """Time to go: as the engine says, which counts evaluations and checkpoints too, else from the steps.

    Steps of this process only: a resumed run starts at a later step.
    """

    def __init__(self) -> None:
        self.first_step = -1
        self.seconds = 0.0

    def remaining(self, event: Event) -> float:
        if "seconds_to_go" in event.values:
            return float(event.values["seconds_to_go"])
        if self.first_step < 0:
            self.first_step = event.step - 1
        self.seconds += float(event.values["seconds"])
        per_step = self.seconds / (event.step - self.first_step)
        return per_step * (int(event.values["max_steps"]) - event.step)


class _TerminalSink:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._rate = _Rate()
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        if event.name == "step":
            self._draw("training", event.step, int(event.values["max_steps"]), _step_text(event, self._rate))
        elif event.name == "evaluating":
            done, total = int(event.values["done"]), int(event.values["total"])
            self._draw(f"measuring the {event.values['which']} model", done, total, _time_left(event))
        elif event.name == "preparing":
            done, total = int(event.values["done"]), int(event.values["total"])
            self._draw(str(event.values["what"]), done, total, _time_to_go(event))
        elif text := _sentence(event):
            self._progress.console.print(text, markup=False)

    def _draw(self, name: str, done: int, total: int, detail: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, detail="")
        self._progress.update(self._tasks[name], completed=done, total=total, detail=detail)


class _LineSink:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._rate = _Rate()
        self._last_line = 0.0

    def __call__(self, event: Event) -> None:
        if event.name == "step":
            text = _step_text(event, self._rate)
            if event.step in (1, int(event.values["max_steps"])) or self._is_time():
                self._print(f"step {event.step}/{event.values['max_steps']} {text}")
        elif event.name == "evaluating":
            done, total = int(event.values["done"]), int(event.values["total"])
            if self._is_time():
                self._print(f"measuring the {event.values['which']} model: {done} of {total}, {_time_left(event)}")
        elif event.name == "preparing":
            if float(event.values["seconds"]) > _LINE_EVERY_SECONDS and self._is_time():
                share = int(event.values["done"]) / max(1, int(event.values["total"]))
                self._print(f"{event.values['what']}: {share:.0%}, {_time_to_go(event)}")
        elif text := _sentence(event):
            self._console.print(text, soft_wrap=True, markup=False)

    def _is_time(self) -> bool:
        return time.monotonic() - self._last_line > _LINE_EVERY_SECONDS

    def _print(self, text: str) -> None:
        self._last_line = time.monotonic()
        self._console.print(text.rstrip(", "), soft_wrap=True, markup=False)


def _time_left(event: Event) -> str:
    """Return what the engine says is left, where it says so and something is."""
    is_over = event.values["done"] == event.values["total"]
    left = float(event.values.get("seconds_to_go", 0.0))
    return f"{_clock(left)} to go" if left and not is_over else ""


def _time_to_go(event: Event) -> str:
    """Return how long the work takes if it goes on as it went so far."""
    done, total, seconds = int(event.values["done"]), int(event.values["total"]), float(event.values["seconds"])
    return f"{_clock(seconds / done * (total - done))} to go" if done and seconds > 1 else ""


def _step_text(event: Event, rate: _Rate) -> str:
    values = event.values
    return (
        f"loss {float(values['loss']):.3f}{' (spike)' if values.get('is_spike') else ''}  "
        f"rate {float(values['learning_rate']):.1e}  {float(values['tokens_per_second']):.0f} tokens/s  "
        f"{float(values['memory_gib']):.1f} GiB  {_clock(rate.remaining(event))} to go"
    )


def _sentence(event: Event) -> str:
    values = event.values
    sentences = {
        "loading": lambda: f"loading {values['base']}",
        "resumed": lambda: f"going on after step {event.step} of {values['max_steps']}",
        "fast_path": lambda: f"  {values['text']}",
        "disk": lambda: _disk_sentence(event),
        "tried": lambda: (
            f"the largest batch fits: {values['num_examples']} x {values['longest_tokens']} tokens, "
            f"{float(values['memory_gib']):.1f} GiB"
        ),
        "evaluated": lambda: f"step {event.step}: {_evaluated(values)}",
        "reply": lambda: (
            f"  {_shortened(str(values['prompt']), 50)} -> {_shortened(str(values['text']), 140)}"
            f"{'  [' + str(values['faults']) + ']' if values['faults'] else ''}"
        ),
        "stopped_early": lambda: f"step {event.step}: ending early, {values['text']}",
        "best": lambda: f"taking the adapter of step {values['kept_step']}, which was best",
        "taken_back": lambda: (
            f"step {event.step}: {float(values['kept_share']):.0%} of what was learned is kept; all of it would have "
            f"raised the loss on held-out conversations by {float(values['rise']):.1%}, and "
            f"feedback.max_loss_rise_fraction allows {float(values['allowed_rise']):.1%}"
        ),
        "warning": lambda: f"warning: {values['text']}",
    }
    return sentences[event.name]() if event.name in sentences else ""


def _evaluated(values: Mapping[str, float | int | str]) -> str:
    parts = []
    if "validation_loss" in values:
        parts.append(f"loss on held-out conversations {float(values['validation_loss']):.3f}")
    if "replies_passed" in values:
        parts.append(f"{float(values['replies_passed']):.0%} of the sampled replies pass their checks")
    return ", ".join(parts)


def _disk_sentence(event: Event) -> str:
    needed, free = float(event.values["needed_gib"]), float(event.values["free_gib"])
    return f"checkpoints and adapter need {needed:.2f} GiB on disk, {free:.1f} GiB are free"


def _shortened(text: str, longest: int) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= longest else one_line[: longest - 3] + "..."
