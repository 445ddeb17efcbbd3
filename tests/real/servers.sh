#!/usr/bin/env bash
# Starts and stops Garage and MinIO on loopback, for the tests that need a real server.
#
# Usage: servers.sh start    starts both with empty data, and prints the environment lines
#        servers.sh env      prints the environment lines again
#        servers.sh website BUCKET    lets everybody read a bucket of Garage
#        servers.sh key BUCKET [RIGHT…]    makes a key of Garage with these rights; prints it and its secret
#        servers.sh stop     stops both and drops their data
#
# A test reads its server from one variable, NARHAUL_TEST_GARAGE or NARHAUL_TEST_MINIO:
# `endpoint=…,region=…,key=…,secret=…`, for Garage also `web=…`, where anonymous readers find the bucket
# `B` under the host name `B.web.localhost`. NARHAUL_TEST_NIX is the folder whose `bin` has `nix-28`, ….
# Ports are free ones and the state is kept per clone, so that two runs on a machine do not meet.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=parts.sh
. "$here/parts.sh"
run=$parts/run/$(printf '%s' "$here" | cksum | cut -d' ' -f1)

# Keys are made up in the servers' own forms; they open nothing but an empty server on loopback.
garage_key=GK0123456789abcdef01234567
garage_secret=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
minio_key=narhaul-test
minio_secret=narhaul-test-secret

# Ports that are free now, all held open at once while they are chosen, so that they differ.
free_ports() { # count
  python3 - "$1" <<'PY'
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in held))
PY
}

# Waits until a port answers with success on a path: readiness is asked for, never slept for. Gives up
# after a minute, which only a machine that swaps needs, or at once when the server has ended.
wait_ready() { # name pid port path
  python3 - "$2" "$3" "$4" <<'PY' || { tail -n 20 "$run/$1.log" >&2; fail "$1 did not become ready"; }
import http.client, os, sys, time
pid, port, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
end = time.monotonic() + 60
while time.monotonic() < end:
    os.kill(pid, 0)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", path)
        if connection.getresponse().status == 200:
            sys.exit(0)
    except OSError:
        pass
    time.sleep(0.05)
sys.exit(1)
PY
}

start_garage() { # s3-port rpc-port web-port admin-port
  mkdir -p "$run/garage"/{meta,data}
  # No fsync: the data is thrown away, and the disk of a test machine is not what is tested.
  cat >"$run/garage.toml" <<CONF
metadata_dir = "$run/garage/meta"
data_dir = "$run/garage/data"
db_engine = "lmdb"
metadata_fsync = false
data_fsync = false
disable_scrub = true
replication_factor = 1
compression_level = "none"
rpc_bind_addr = "127.0.0.1:$2"
rpc_public_addr = "127.0.0.1:$2"
rpc_secret = "$garage_secret"
[s3_api]
api_bind_addr = "127.0.0.1:$1"
s3_region = "garage"
root_domain = ".s3.localhost"
[s3_web]
bind_addr = "127.0.0.1:$3"
root_domain = ".web.localhost"
index = "index.html"
[admin]
api_bind_addr = "127.0.0.1:$4"
CONF
  GARAGE_CONFIG_FILE=$run/garage.toml GARAGE_DEFAULT_ACCESS_KEY=$garage_key \
    GARAGE_DEFAULT_SECRET_KEY=$garage_secret GARAGE_DEFAULT_BUCKET=first RUST_LOG=garage=info \
    nohup "$parts/bin/garage" server --single-node --default-access-key --default-bucket \
    >"$run/garage.log" 2>&1 </dev/null &
  echo $! >"$run/garage.pid"
  wait_ready garage $! "$4" /health
}

start_minio() { # s3-port
  mkdir -p "$run/minio"
  MINIO_ROOT_USER=$minio_key MINIO_ROOT_PASSWORD=$minio_secret MINIO_BROWSER=off MINIO_UPDATE=off \
    MINIO_CALLHOME_ENABLE=off nohup "$parts/bin/minio" server --address "127.0.0.1:$1" "$run/minio" \
    >"$run/minio.log" 2>&1 </dev/null &
  echo $! >"$run/minio.pid"
  wait_ready minio $! "$1" /minio/health/ready
}

# Ends a server that this script started. A process id is used again sooner or later, so the program
# behind it is looked at first.
stop_server() { # name
  local pid
  pid=$(cat "$run/$1.pid" 2>/dev/null) || return 0
  if [ "$(readlink "/proc/$pid/exe" 2>/dev/null)" = "$(readlink -f "$parts/bin/$1")" ]; then
    kill "$pid" 2>/dev/null || true
    local tries=0
    while kill -0 "$pid" 2>/dev/null && [ $tries -lt 100 ]; do
      tries=$((tries + 1))
      sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
  fi
  rm -f "$run/$1.pid"
}

stop() {
  stop_server garage
  stop_server minio
  rm -rf "$run"
}

start() {
  local program ports
  for program in garage minio; do
    [ -x "$parts/bin/$program" ] || fail "$program is not in \`$parts/bin\`; run setup.sh"
  done
  stop
  mkdir -p "$run"
  read -ra ports <<<"$(free_ports 5)"
  start_garage "${ports[@]:0:4}"
  start_minio "${ports[4]}"
  local url=http://127.0.0.1
  cat >"$run/env" <<CONF
NARHAUL_TEST_GARAGE=endpoint=$url:${ports[0]},region=garage,key=$garage_key,secret=$garage_secret,web=$url:${ports[2]}
NARHAUL_TEST_MINIO=endpoint=$url:${ports[4]},region=us-east-1,key=$minio_key,secret=$minio_secret
NARHAUL_TEST_NIX=$parts/nix
CONF
  cat "$run/env"
}

# A bucket that was created by S3 has a name for its key alone; all others find it by a common one.
give_common_name() { # bucket
  local garage=$parts/bin/garage id
  id=$("$garage" bucket list 2>/dev/null | awk -v alias="$garage_key:$1" '$NF == alias { print $1 }')
  [ -n "$id" ] || fail "Garage has no bucket \`$1\`"
  "$garage" bucket alias "$id" "$1"
}

website() { # bucket
  export GARAGE_CONFIG_FILE=$run/garage.toml
  give_common_name "$1"
  "$parts/bin/garage" bucket website --allow "$1"
}

make_key() { # bucket, right…
  local garage=$parts/bin/garage bucket=$1 id secret right
  shift
  export GARAGE_CONFIG_FILE=$run/garage.toml
  give_common_name "$bucket" >&2
  read -r id secret <<<"$("$garage" key create test 2>/dev/null |
    awk '/^Key ID:/ { id = $NF } /^Secret key:/ { print id, $NF }')"
  for right in "$@"; do
    "$garage" bucket allow "--$right" "$bucket" --key "$id" >&2
  done
  echo "$id $secret"
}

case ${1:-} in
  start) start ;;
  stop) stop ;;
  env) cat "$run/env" 2>/dev/null || fail "the servers are not running; use \`servers.sh start\`" ;;
  website) website "${2:?a bucket}" ;;
  key) make_key "${2:?a bucket}" "${@:3}" ;;
  *) fail "usage: servers.sh start | env | website BUCKET | key BUCKET [RIGHT…] | stop" ;;
esac
