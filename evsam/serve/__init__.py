"""A model behind HTTP: ``evsam serve``.

``app`` puts the parts together: ``guard`` (what every request has to pass), ``api`` (evsam's own paths), ``protocols``
(those of other tools) and ``service`` (the model with its queue and cache), which all of them ask.
"""

from __future__ import annotations

from evsam.errors import BackendUnavailable

try:
    import fastapi
    import httpx
    import prometheus_client
    import uvicorn
except ImportError as error:
    raise BackendUnavailable(f"evsam.serve needs {error.name}; use pip install 'evsam[serve]'") from error

del fastapi, httpx, prometheus_client, uvicorn
