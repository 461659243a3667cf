"""nginx configuration template of the reverse proxy."""

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
  map_hash_bucket_size 2048;
  map_hash_max_size 65536;
  # Polls that went well are not worth a line.
  map "$status $request_uri" $worth {{
    "~^200 .*/(pull-messages|send-node-heartbeat|push-object|pull-object)$" 0;
    default 1;
  }}
  log_format plain '$time_iso8601 $remote_addr "$request" $status $body_bytes_sent $request_time';
  access_log "{logs}/access.log" plain if=$worth;
  server_tokens off;
  default_type application/json;

  # A slow or half-open connection is dropped, and costs the SuperLink nothing: a request
  # goes on only when it is whole, an answer is taken at once.
  client_header_timeout {patience.header}s;
  client_body_timeout {patience.body}s;
  send_timeout {patience.send}s;
  lingering_time {patience.send}s;
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
  limit_conn_zone $binary_remote_addr zone=waiting_address:4m;
  limit_conn_zone $server_port zone=waiting_all:1m;
  limit_req_zone $binary_remote_addr zone=rate:4m rate={rate}r/s;
  limit_req_log_level error;
  limit_conn address {per_address};
  limit_conn all {in_all};

{members}
  upstream superlink {{ server {upstream}; keepalive 32; }}

  server {{
    listen {listen}{ssl};
{tls}
    location / {{ return 403; }}
    location = /v1/fleet {{ return 403; }}
    location /v1/fleet/ {{
      limit_except POST {{ deny all; }}
{strangers}
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
      # Every client waits here for work nearly all of the time, and takes nobody's place.
      location = /v1/fleet/pull-messages {{
        limit_except POST {{ deny all; }}
{strangers}
        limit_conn waiting_address {waiting_per_address};
        limit_conn waiting_all {waiting_in_all};
        {waiting_member}
        proxy_pass {scheme}://superlink;
      }}
    }}
  }}
}}
"""

MEMBERS = """\
  # Whose key is listed, as a number; that it is theirs is for the SuperLink to find out.
  map $http_{header} $member {{
    default stranger;
    "" nobody;
    {keys}
  }}
  # By address too: a key in a header is no proof, and whoever knows a member's public key
  # would take its places from anywhere.
  limit_conn_zone "$binary_remote_addr $member" zone=member:4m;
  limit_conn member {most};
"""

STRANGERS = """\
      # Before its body is read: it may take hours over that, and others wait for its place.
      if ($member = nobody) { return 401 '{"detail": "no key"}'; }
      if ($member = stranger) { return 412 '{"code": 2004, "detail": "not on the allow list"}'; }"""

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
        limit_except POST {{ deny all; }}
{strangers}
        client_max_body_size {size};
        proxy_pass {scheme}://superlink;
      }}"""
