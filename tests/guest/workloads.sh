# Programs that people really run, each under odio-trace and strace at once.
#
# What is printed is a row of parts, each under a line `### CASE PART`: `calls` is what strace saw, `json` is what
# odio-trace printed, `status` is its exit status, and `said` is what the workload itself printed.

# Not on the disk: writing them must not be among the requests.
ROOM=/tmp/workloads
CALLS=read,pread64,readv,preadv,preadv2,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync
CALLS=$CALLS,rename,renameat,renameat2,unlink,unlinkat
mkdir $ROOM

# observe CASE COMMAND...
observe() {
    name=$1
    shift
    odio-trace run --json -- \
        strace -f --seccomp-bpf -qq -y -s 0 -e "trace=$CALLS" -e signal=none -o $ROOM/calls -- \
        "$@" >$ROOM/both 2>$ROOM/err
    status=$?
    echo "### $name calls"
    cat $ROOM/calls
    echo "### $name json"
    grep '^{"' $ROOM/both
    echo "### $name said"
    grep -v '^{"' $ROOM/both
    cat $ROOM/err
    echo "### $name status"
    echo $status
}

# Two journal modes, whose files and syncs differ. Each INSERT is a transaction of its own.
sqlite() {
    {
        echo "PRAGMA journal_mode=$1; PRAGMA synchronous=FULL;"
        echo "CREATE TABLE t(n INTEGER PRIMARY KEY, text TEXT);"
        for n in $(seq "$2"); do
            echo "INSERT INTO t VALUES($n, hex(randomblob(500)));"
        done
        echo "SELECT count(*) FROM t;"
    } >"$ROOM/$1.sql"
    observe "sqlite-$1" sqlite3 "$1.db" ".read $ROOM/$1.sql"
}

# postgres FOLDER TRANSACTIONS: a server on a copy of the cluster in FOLDER, two clients, and a fast shutdown.
# The server does not run as root.
postgres() {
    cp -a "$1" cluster
    chown -R 1000:1000 cluster
    chmod 700 cluster
    cat >$ROOM/postgres.sh <<'END'
binaries=$1 transactions=$2
"$binaries/postgres" -D cluster -k /tmp -c listen_addresses= -c dynamic_shared_memory_type=sysv &
server=$!
ask() {
    "$binaries/psql" -X -q -t -A -h /tmp -U postgres -d postgres "$@"
}
until ask -c 'SELECT 1' >/dev/null 2>&1; do
    kill -0 $server || exit 90
    usleep 200000
done
ask -c 'CREATE TABLE t(n serial, text text)'
echo "INSERT INTO t(text) VALUES(repeat('x', 500));" >/tmp/insert.sql
"$binaries/pgbench" -n -h /tmp -U postgres -f /tmp/insert.sql -c 2 -t "$transactions" postgres
echo "rows: $(ask -c 'SELECT count(*) FROM t')"
kill -INT $server
wait $server
END
    observe postgres setpriv --reuid 1000 --regid 1000 --clear-groups sh $ROOM/postgres.sh "$POSTGRES" "$2"
}

# rocksdb WRITES: fillsync takes its keys from a thousandth of --num.
rocksdb() {
    observe rocksdb db_bench --benchmarks=fillsync,flush,readrandom --num="${1}000" --reads="$1" --writes="$1" \
        --db="$PWD/rocks" --use_direct_reads --use_direct_io_for_flush_and_compaction --compression_type=none
}
