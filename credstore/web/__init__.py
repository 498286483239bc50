"""ASGI applications: what programs with a web server, and `credstore serve`, offer over HTTP."""

from credstore.web.app import NegotiatedPart, Part, PostPart, WebApp
from credstore.web.link_pages import ProofLinkPages
from credstore.web.logs import LogPart, WitnessPart
from credstore.web.pictures import GivenPictures, Pictures, StoredPictures
from credstore.web.prometheus import PrometheusPart, exposition
from credstore.web.proof_pages import ProofPages

__all__ = [
    "GivenPictures",
    "LogPart",
    "NegotiatedPart",
    "Part",
    "Pictures",
    "PostPart",
    "PrometheusPart",
    "ProofLinkPages",
    "ProofPages",
    "StoredPictures",
    "WebApp",
    "WitnessPart",
    "exposition",
]
