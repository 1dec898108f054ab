# Functions for a guest in which odio-trace is held against the kernel's own tracefs.
#
# What is printed is a row of parts, each under a line `### CASE PART`: `trace` is what tracefs saw, `json` is what
# odio-trace printed, `status` is its exit status, and `report` is what the workload wrote to $REPORT.

TRACING=/sys/kernel/tracing
COUNT=$TRACING/instances/truth
# Not on the disk: writing them must not be among the requests.
ROOM=/tmp/truth
REPORT=$ROOM/report

# count_with_tracefs FSYNC [COMMIT_WAIT]: puts the probes in place, in an instance of their own; FSYNC is the function
# of the filesystem that ends an fsync, COMMIT_WAIT the one in which it waits for its journal. The offsets are those of
# Linux 6.1.
count_with_tracefs() {
    mkdir "$ROOM" "$COUNT" || exit 90
    {
        # The name is taken when the event happens: the one in front of a line is only as good as a small cache.
        echo 'p:truth/submit_bio submit_bio comm=$comm opf=+16(%di):u32 sector=+32(%di):u64 size=+40(%di):u32'
        echo 'p:truth/vfs_fsync_range vfs_fsync_range comm=$comm'
        echo "p:truth/fs_fsync $1 comm=\$comm"
        [ -z "$2" ] || echo "p:truth/commit_wait $2 comm=\$comm"
    } >$TRACING/kprobe_events || exit 91
    echo 0 >$COUNT/tracing_on
    echo 8192 >$COUNT/buffer_size_kb || exit 92
    echo 1 >$COUNT/events/truth/enable || exit 93
    echo 1 >$COUNT/events/block/block_rq_issue/enable || exit 93
    # Tells which thread belongs to which process, from the clone flags. (The option record-tgid only remembers
    # threads that it saw being scheduled.)
    echo 1 >$COUNT/events/task/task_newtask/enable || exit 94
}

# part CASE PART: what follows on standard input.
part() {
    echo "### $1 $2"
    cat
}

# trace CASE ODIO-TRACE-ARGUMENTS...: one case, counted by both.
trace() {
    name=$1
    shift
    rm -f "$REPORT"
    echo >$COUNT/trace
    echo 1 >$COUNT/tracing_on
    odio-trace "$@" >$ROOM/json
    status=$?
    echo 0 >$COUNT/tracing_on
    part "$name" trace <$COUNT/trace
    part "$name" json <$ROOM/json
    echo $status | part "$name" status
    if [ -e "$REPORT" ]; then
        part "$name" report <"$REPORT"
    fi
}

# written FILE BLOCKS: a file of written, committed blocks of 4 KiB, none of them in the page cache.
written() {
    rm -f "$1"
    dd if=/dev/zero of="$1" bs=4k count="$2" oflag=direct 2>/dev/null || exit 95
    sync
}

# After the last case: which events each probe of tracefs saw, and which it had to let go.
tell_misses() {
    part all profile <$TRACING/kprobe_profile
}
