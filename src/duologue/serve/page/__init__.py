"""The web page: Gradio Blocks lay it out, and own elements fill it, which talk to the routes under `/page/`."""

from duologue.serve.page.routes import make_page_routes
from duologue.serve.page.shell import mount_page

__all__ = ["make_page_routes", "mount_page"]
