"""One self-contained page of a run: it needs no network, no ringviz, and nobody beside the reader."""

from ringviz.export.page.page import page_of

__all__ = ["page_of"]
