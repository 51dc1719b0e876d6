"""Stand-in for the provider simulator: serves nothing, but starts and ends like the real one."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler

from emulator.standin_child import serve

serve(BaseHTTPRequestHandler, "--api-key")
