"""ASGI applications: what programs with a web server, and `credstore serve`, offer over HTTP."""

from credstore.web.app import Part, WebApp
from credstore.web.prometheus import PrometheusPart, exposition

__all__ = ["Part", "PrometheusPart", "WebApp", "exposition"]
