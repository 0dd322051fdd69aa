"""`duologue export`: what leaves the workshop."""

import typer

from duologue.cli.export_bundle import bundle
from duologue.cli.export_docker import docker
from duologue.cli.export_gguf import gguf
from duologue.cli.export_merged import merged
from duologue.cli.export_space import space

app = typer.Typer(help="Ship a trained character.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Ship a trained character."""


for command in (merged, gguf, bundle, docker, space):
    app.command(command.__name__)(command)
