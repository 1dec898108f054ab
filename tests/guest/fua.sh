# O_DSYNC overwrites under odio-trace, while tracefs counts the requests that are issued. Prints for each case a line
# `### CASE`, then the lines of odio-trace and those of tracefs.

TRACING=/sys/kernel/tracing/instances/fua
ROOM=/tmp/fua
CACHE=/sys/block/nvme0n1/queue/write_cache

mkdir $ROOM $TRACING || exit 90
echo 0 >$TRACING/tracing_on
echo 8192 >$TRACING/buffer_size_kb || exit 91
echo 1 >$TRACING/events/block/block_rq_issue/enable || exit 92

# traced CASE SCRIPT: tracefs counts from the first command of the script to the last: odio-trace has its own requests
# before and after.
traced() {
    echo "### $1"
    echo >$TRACING/trace
    {
        echo "echo 1 >$TRACING/tracing_on"
        echo "$2"
        echo "echo 0 >$TRACING/tracing_on"
    } >$ROOM/script
    odio-trace run --json -- sh $ROOM/script >$ROOM/json || exit 93
    cat $ROOM/json $TRACING/trace
}

# dsync FILE ENGINE BYTES TOTAL: the command that overwrites with O_DSYNC.
dsync() {
    echo "fio --output=$ROOM/said --name=job --filename=$1 --ioengine=$2 --bs=$3 --size=$4 --iodepth=4 --rw=write" \
        "--direct=1 --sync=dsync --disk_util=0 --allow_file_create=0 || exit 94"
}

# every_engine NAME FILE
every_engine() {
    for engine in psync libaio io_uring; do
        traced "$1 $engine" "$(dsync "$2" $engine 4k 124k)"
    done
}

# A filesystem: blocks that are written and committed.
a_file() {
    dd if=/dev/zero of=/mnt/file bs=4k count=31 oflag=direct 2>/dev/null || exit 95
    sync
    every_engine file /mnt/file
    # In the working directory, as each run is calibrated.
    echo '### doctor'
    odio-trace doctor --json
}

devices() {
    disk=$ODIO_VM_DISK
    every_engine disk "$disk"
    # More than the disk takes at once.
    traced 'split libaio' "$(dsync "$disk" libaio 4M 16M)"

    # A driver that has no FUA.
    dd if=/dev/zero of=$ROOM/image bs=1M count=1 2>/dev/null
    losetup /dev/loop0 $ROOM/image || exit 96
    [ "$(cat /sys/block/loop0/queue/fua)" = 0 ] || exit 97
    traced 'loop libaio' "$(dsync /dev/loop0 libaio 4k 124k)"

    # Made of another device.
    echo "0 65536 linear $disk 0" | dmsetup create --noudevsync stacked || exit 98
    traced 'stacked libaio' "$(dsync /dev/dm-0 libaio 4k 124k)"
    dmsetup remove --noudevsync stacked

    # The block layer drops FUA from the second write on, which what odio-trace knows of the disk does not say: it
    # looked when it told the first.
    grep -qx 'write back' $CACHE || exit 99
    traced 'dropped libaio' "$(dsync "$disk" libaio 4k 4k)
        until grep -q '\"op\":\"write\"' $ROOM/json; do usleep 10000; done
        echo 'write through' >$CACHE
        $(dsync "$disk" libaio 4k 4k)"
    echo 'write back' >$CACHE
    # The same disk without a cache, which odio-trace knows.
    echo 'write through' >$CACHE
    traced 'through libaio' "$(dsync "$disk" libaio 4k 124k)"
}
