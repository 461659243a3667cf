"""The front: nginx on the public port, which lets only the SuperNodes' interface through.

The SuperLink's one port also serves Flower's control and runtime interfaces, without
authentication; they stay on this machine. Knows nothing of experiments.
"""

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from fedsafe.errors import LaunchError
from fedsafe.launch.processes import Child, open_files
from fedsafe.launch.server_machine.gate import LIMITS, SMALL

PER_ADDRESS, IN_ALL = 256, 1024
"""Requests at a time; several clients may share one address."""
FILES = 3 * IN_ALL + 160
"""Two connections and a temporary file for each request, and some to spare."""
RATE, BURST = 300, 900
"""Requests a second of one address; those above wait, and above the burst are refused."""
UNQUOTED = set('"$\\\n\r')
"""Characters that nginx has no way to quote."""

TEMPLATE = """\
# Written by `fedsafe server`; changes are lost when it starts.
daemon off;
# One process and no master: a master that is killed leaves its workers behind, and one that
# is still starting them forgets a signal.
master_process off;
pid "{state}/front.pid";
error_log "{logs}/front.log" error;
{user}
events {{ worker_connections {connections}; }}
http {{
  # Polls that went well are not worth a line.
  map "$status $request_uri" $worth {{
    "~^200 .*/(pull-messages|send-node-heartbeat|push-object|pull-object)$" 0;
    default 1;
  }}
  log_format plain '$time_iso8601 $remote_addr "$request" $status $body_bytes_sent $request_time';
  access_log "{logs}/access.log" plain if=$worth;
  server_tokens off;
  default_type application/octet-stream;

  # A slow or half-open connection is dropped, and costs the SuperLink nothing: a request
  # goes on only when it is whole, an answer is taken at once.
  client_header_timeout {patience.header}s;
  client_body_timeout {patience.body}s;
  send_timeout {patience.send}s;
  keepalive_timeout {patience.idle}s;
  reset_timedout_connection on;
  client_body_buffer_size 128k;
  proxy_request_buffering on;
  proxy_buffering on;
  proxy_buffers 16 64k;
  proxy_max_temp_file_size {largest};
  client_body_temp_path "{state}/front/body";
  proxy_temp_path "{state}/front/proxy";
  fastcgi_temp_path "{state}/front/fastcgi";
  uwsgi_temp_path "{state}/front/uwsgi";
  scgi_temp_path "{state}/front/scgi";

  limit_conn_zone $binary_remote_addr zone=address:4m;
  limit_conn_zone $server_port zone=all:1m;
  limit_req_zone $binary_remote_addr zone=rate:4m rate={rate}r/s;
  limit_req_log_level error;
  limit_conn address {per_address};
  limit_conn all {in_all};

  upstream superlink {{ server {upstream}; keepalive 32; }}

  server {{
    listen {listen}{ssl};
{tls}
    location / {{ return 403; }}
    location = /v1/fleet {{ return 403; }}
    location /v1/fleet/ {{
      limit_except POST {{ deny all; }}
      limit_req zone=rate burst={burst} delay={rate};
      client_max_body_size {small};
      proxy_pass {scheme}://superlink;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host superlink;
      proxy_set_header fedsafe-token "";
      # Never twice: a request may have been worked on although its answer was lost.
      proxy_next_upstream off;
      proxy_connect_timeout 5s;
      proxy_read_timeout 120s;
{verify}
{larger}
    }}
  }}
}}
"""

TLS = """\
    ssl_certificate "{tls}/server.crt";
    ssl_certificate_key "{tls}/server.key";
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:4m;
    ssl_session_tickets off;"""

VERIFY = """\
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate "{inside}/ca.crt";
      proxy_ssl_name localhost;
      proxy_ssl_server_name on;
      proxy_ssl_protocols TLSv1.2 TLSv1.3;"""

LARGER = """\
      location = /v1/fleet/{call} {{
        client_max_body_size {size};
        proxy_pass {scheme}://superlink;
      }}"""


@dataclass(frozen=True)
class Patience:
    """Seconds after which a caller is hung up on."""

    header: int = 10
    """For a handshake, and again for the whole head of a request."""
    body: int = 20
    """Between two pieces of a request's body."""
    send: int = 30
    """Between two pieces of an answer that it takes."""
    idle: int = 75
    """Between two requests."""


@dataclass(frozen=True)
class Front:
    """Where a front listens, and what is behind it."""

    listen: str
    """Address and port, as in 0.0.0.0:8443 or [::]:8443."""
    upstream: str
    """Address and port of the SuperLink."""
    state: Path
    """Directory for its files, made if need be."""
    logs: Path
    tls: Path | None = None
    """Directory of server.crt and server.key; None: no TLS."""
    inside: Path | None = None
    """Directory of the ca.crt that signed the SuperLink's certificate; None: it has no TLS."""
    patience: Patience = Patience()

    def config(self, files: int = FILES) -> str:
        """Return nginx's configuration, for a process that may open so many files."""
        scheme = "http" if self.inside is None else "https"
        larger = [
            LARGER.format(call=call, size=size, scheme=scheme) for call, size in LIMITS.items()
        ]
        return TEMPLATE.format(
            state=self.state,
            logs=self.logs,
            listen=self.listen,
            upstream=self.upstream,
            scheme=scheme,
            # As root nginx gives its directories away to another user, unless told whom.
            user="user root;" if os.geteuid() == 0 else "",
            ssl="" if self.tls is None else " ssl",
            tls="" if self.tls is None else TLS.format(tls=self.tls),
            verify="" if self.inside is None else VERIFY.format(inside=self.inside),
            larger="\n".join(larger),
            small=SMALL,
            largest=max(LIMITS.values()),
            rate=RATE,
            burst=BURST,
            per_address=PER_ADDRESS,
            in_all=IN_ALL,
            # Short of connections it drops those that say nothing; short of files, nobody.
            connections=2 * (files - 64) // 3,
            patience=self.patience,
        )

    def child(self) -> Child:
        """Write the configuration, have nginx check it, and return its process, not started.

        Raises:
            LaunchError: nginx is not installed, or does not take the configuration.
        """
        program = nginx()
        if program is None:
            raise LaunchError("nginx is not installed. On Debian: apt install nginx-light.")
        file = self.state / "front.conf"
        for home in (self.state, self.state / "front", self.logs):
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        odd = [str(path) for path in (self.state, self.logs, self.tls) if set(str(path)) & UNQUOTED]
        if odd:
            raise LaunchError(
                f"nginx cannot be given the path {odd[0]}: quotes, $, \\ and line breaks are not "
                "allowed in it."
            )
        file.write_text(self.config(open_files(FILES)), encoding="utf-8")
        command = [program, "-c", str(file), "-p", str(self.state), "-e", str(self._log)]
        tried = subprocess.run([*command, "-t", "-q"], capture_output=True, text=True, check=False)
        if tried.returncode:
            said = (tried.stderr.strip().splitlines() or ["it does not say why"])[0]
            raise LaunchError(f"nginx does not take {file}: {said}")
        # A kill costs nothing: nginx's own quick ending breaks requests off as well, and its
        # temporary files have no names.
        return Child("the front (nginx)", command, log=self._log, leash=signal.SIGKILL)

    @property
    def _log(self) -> Path:
        return self.logs / "front.log"


def nginx() -> str | None:
    """Return where nginx is, or None."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
