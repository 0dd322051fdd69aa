"""The further processes of a run: started by the first one, or by a launcher, they do their part in silence.

    python -m duologue.engine.hf.worker RANK NUM_PROCESSES FILE

A worker gets job and examples from the first process, so it reads no configuration and no data, and writes nothing: its
own copy of the adapter, which it saves and compares as the first one does, goes to a folder that is thrown away.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from duologue.engine.hf.distributed import Together, group
from duologue.engine.job import Event, Example, Place, TrainingJob
from duologue.errors import DuologueError, InterruptedRun

_ENDING_SECONDS = 30.0  # for a worker to notice that the run is over
_LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}  # nothing of a run on one machine leaves it


@contextmanager
def launched(job: TrainingJob) -> Iterator[Together]:
    """Start the further processes of a job, meet them, and see them off at the end.

    Raises:
        InterruptedRun: One of them was lost.
    """
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        command = [sys.executable, "-m", "duologue.engine.hf.worker"]
        if sys.platform == "linux":
            os.environ.update(_LOOPBACK)  # the library of the connections reads it from there
        workers = [
            subprocess.Popen(  # noqa: S603 (this program, with numbers and a path of its own)
                [*command, str(rank), str(job.num_processes), str(meeting)], stdout=subprocess.DEVNULL
            )
            for rank in range(1, job.num_processes)
        ]
        try:
            place = Place(0, job.num_processes, f"file://{meeting}", local_rank=0)
            with group(place, is_sharded=job.is_sharded) as processes:
                yield processes
        finally:
            _see_off(workers)


def join(place: Place) -> None:
    """Do the part of a further process until the run is over.

    Raises:
        DuologueError: As the run in the first process raises it.
    """
    should_stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the first process decides
    signal.signal(signal.SIGTERM, lambda *_: should_stop.set())
    from duologue.engine.hf.trainer import open_fit

    with group(place) as processes:
        job, train, validation = processes.share(_nothing())
        processes.is_sharded = job.is_sharded
        fit = open_fit(job, train, validation, on_event=_silent, processes=processes)
        fit.describe()  # it tries the model, and with a sharded base a forward is everybody's
        fit.resume()
        fit.prepare()
        fit.run(should_stop)
        with tempfile.TemporaryDirectory() as folder:
            fit.passes.job = replace(fit.passes.job, run_folder=Path(folder))
            fit.finish()


def main() -> None:
    """Read the place from the command line and join."""
    rank, num_processes, meeting = sys.argv[1:]
    if sys.platform == "linux":
        os.environ.update(_LOOPBACK)
    try:
        join(Place(int(rank), int(num_processes), f"file://{meeting}", local_rank=int(rank)))
    except InterruptedRun:
        sys.exit(InterruptedRun.exit_code)  # the first process says it
    except DuologueError as error:
        sys.stderr.write(f"process {rank}: {error}\n")
        sys.exit(error.exit_code)


def _see_off(workers: list[subprocess.Popen[bytes]]) -> None:
    """Wait for the workers, which end by themselves when the run or the connection ends; then end them."""
    for worker in workers:
        try:
            worker.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def _nothing() -> tuple[TrainingJob, list[Example], list[Example]]:
    """What a worker has to share: it only listens."""
    return None  # type: ignore[return-value]


def _silent(_event: Event) -> None:
    """The first process speaks for all."""


if __name__ == "__main__":
    main()
