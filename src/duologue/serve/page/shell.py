"""The page's frame: one Gradio column for each panel, with the element that fills it.

Gradio's own chat has no swipes, branches, menus or long chats, and its HTML component needs `unsafe-eval`, which our
content security policy forbids. So Gradio lays out, themes and hosts; what people touch are the elements of `static/`.
"""

from importlib import resources

import gradio as gr
from fastapi import FastAPI

from duologue.serve.theme import make_theme

PANELS = ("talk", "characters", "memory", "context", "train", "settings")
_QUEUE_POLL_SECONDS = 60.0  # nothing goes through Gradio's queue, which would look into it 1,000 times a second


def mount_page(app: FastAPI, *, title: str) -> None:
    """Put the page at `/`, behind the routes the app has already."""
    with gr.Blocks(title=title, analytics_enabled=False, fill_height=True, fill_width=True) as blocks:
        gr.Markdown("<duo-frame></duo-frame>", sanitize_html=False, container=False, elem_id="frame")
        with gr.Column(elem_id="panels"):
            for name in PANELS:
                with gr.Column(elem_id=f"panel-{name}", elem_classes="panel"):
                    gr.Markdown(f"<duo-{name}></duo-{name}>", sanitize_html=False, container=False)
    blocks.queue(api_open=False, max_size=1)
    blocks._queue.sleep_when_free = _QUEUE_POLL_SECONDS
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        run_history=False,
        footer_links=[],
        show_error=False,
        max_file_size=1,  # nothing is uploaded through Gradio
        mcp_server=False,
        ssr_mode=False,
        theme=make_theme(),
        head=_head(),
    )


def _head() -> str:
    """Return the links to our files. Gradio would rewrite rules that it was given as texts."""
    files = resources.files("duologue.serve.page").joinpath("static").iterdir()
    own = sorted(
        (file.name for file in files if file.name.endswith(".css")), key=lambda name: (name != "base.css", name)
    )
    sheets = "".join(f'<link rel="stylesheet" href="/page/static/{name}">' for name in own)
    return f'{sheets}<script type="module" src="/page/static/page.js"></script>'
