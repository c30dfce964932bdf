"""Bodies of one JSON value a line, which the tool cannot write by itself."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def write_ndjson(_context, value):
    """The body's bytes: a text as it stands, a list line by line, anything else as one line."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    lines = value if isinstance(value, list) else [value]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()
