"""ASGI applications: what programs with a web server, and `credstore serve`, offer over HTTP."""

from credstore.web.app import Part, PostPart, WebApp
from credstore.web.logs import LogPart, WitnessPart
from credstore.web.prometheus import PrometheusPart, exposition

__all__ = ["LogPart", "Part", "PostPart", "PrometheusPart", "WebApp", "WitnessPart", "exposition"]
