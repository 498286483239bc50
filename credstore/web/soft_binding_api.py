"""The description of the soft binding API, as OpenAPI 3.0: what `SoftBindingApp` does and is tested against.

Written from the routes of the C2PA Soft Binding Resolution API 1.0; kept here as data, so that the app serves
what it is tested against. Pure.
"""

from __future__ import annotations

from typing import Any

LARGEST_BODY = 32 * 1024 * 1024
MOST_RESULTS = 100
LONGEST_QUERY = 6144
PICTURES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/tiff", "image/bmp", "image/avif")
_ALG = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$"}
_VALUE = {"type": "string", "format": "byte", "minLength": 1, "maxLength": 4096}


def _query(name: str, schema: dict[str, Any], what: str, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema, "description": what}


def _failing(*codes: int) -> dict[str, Any]:
    words = {
        400: "A parameter is missing or not of its form.",
        404: "There is no manifest with this id.",
        405: "Not a method of this path.",
        413: "The body is larger than 32 MiB, or the picture has too many pixels.",
        414: "The query is too long; POST the value.",
        415: "The body is not of a type that can be read here.",
        429: "Too many requests; Retry-After says for how many seconds to wait.",
        503: "The store does not respond.",
    }
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    # What is too long for the server itself is refused before it is read.
    by_server = {**error, "text/plain": {"schema": {"type": "string"}}}
    return {
        str(code): {
            "description": words[code],
            "content": by_server if code == 400 else error,  # noqa: PLR2004 - an HTTP status
        }
        for code in codes
    }


def _matches(*failing: int) -> dict[str, Any]:
    return {
        "200": {
            "description": "Manifests that may belong to the asset, the most similar first.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Matches"}}},
        },
        **_failing(400, *failing, 414, 429, 503),
    }


_MOST = _query(
    "maxResults",
    {"type": "integer", "minimum": 1, "maximum": MOST_RESULTS, "default": 10},
    "Maximum number of matches.",
)


def document() -> dict[str, Any]:
    """The description as JSON values."""
    by_binding = {
        "get": {
            "operationId": "findByBinding",
            "summary": "Manifests by a watermark's id or a fingerprint.",
            "parameters": [
                _query("alg", _ALG, "Name of the algorithm in C2PA's list.", required=True),
                _query("value", _VALUE, "The value, in base64.", required=True),
                _MOST,
            ],
            "responses": _matches(),
        },
        "post": {
            "operationId": "findByBindingInBody",
            "summary": "The same, for values too long for a URL.",
            "parameters": [_MOST],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Query"}}},
            },
            "responses": _matches(413, 415),
        },
    }
    by_content = {
        "post": {
            "operationId": "findByContent",
            "summary": "Manifests by what a picture looks like.",
            "parameters": [
                _query("alg", _ALG, "Name of the algorithm to compute."),
                _MOST,
                _query("hintAlg", _ALG, "An algorithm whose value the asking side knows."),
                _query("hintValue", _VALUE, "That value, in base64."),
            ],
            "requestBody": {
                "required": True,
                "content": {
                    each: {"schema": {"type": "string", "format": "binary"}}
                    for each in (*PICTURES, "application/octet-stream")
                },
            },
            "responses": _matches(413, 415),
        }
    }
    manifest = {
        "get": {
            "operationId": "getManifest",
            "summary": "A manifest store by the label of its active manifest.",
            "parameters": [
                {
                    "name": "manifestId",
                    "in": "path",
                    "required": True,
                    "schema": {"type": "string", "minLength": 1, "maxLength": 512},
                },
                _query(
                    "returnActiveManifest",
                    {"type": "boolean", "default": False},
                    "Whether the manifest store has the active manifest alone, without those of ingredients.",
                ),
            ],
            "responses": {
                "200": {
                    "description": "The manifest store, whose active manifest has this label.",
                    "content": {"application/c2pa": {"schema": {"type": "string", "format": "binary"}}},
                },
                **_failing(400, 404, 414, 429, 503),
            },
        }
    }
    algorithms = {
        "get": {
            "operationId": "getSupportedAlgorithms",
            "summary": "What can be looked for.",
            "responses": {
                "200": {
                    "description": "Names of algorithms.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Algorithms"}}},
                },
                **_failing(400, 414, 429),
            },
        }
    }
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Soft binding resolution",
            "version": "1.0.0",
            "description": "Finds C2PA manifests of assets whose metadata was removed.",
        },
        "paths": {
            "/matches/byBinding": by_binding,
            "/matches/byContent": by_content,
            "/manifests/{manifestId}": manifest,
            "/services/supportedAlgorithms": algorithms,
        },
        "components": {"schemas": _schemas()},
    }


def _schemas() -> dict[str, Any]:
    names = {"type": "array", "items": {"type": "object", "required": ["alg"], "properties": {"alg": _ALG}}}
    return {
        "Query": {
            "type": "object",
            "required": ["alg", "value"],
            "properties": {"alg": _ALG, "value": _VALUE},
        },
        "Matches": {
            "type": "object",
            "required": ["matches"],
            "properties": {
                "matches": {
                    "type": "array",
                    "maxItems": MOST_RESULTS,
                    "items": {
                        "type": "object",
                        "required": ["manifestId"],
                        "properties": {
                            "manifestId": {"type": "string"},
                            "endpoint": {"type": "string"},
                            "similarityScore": {"type": "integer", "minimum": 0, "maximum": 100},
                        },
                    },
                }
            },
        },
        "Algorithms": {
            "type": "object",
            "required": ["watermarks", "fingerprints"],
            "properties": {"watermarks": names, "fingerprints": names},
        },
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": {"error": {"type": "string"}},
        },
    }
