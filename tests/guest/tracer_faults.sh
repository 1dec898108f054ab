#!/bin/sh
# tracer_faults.sh PROGRAM: odio-trace where the tracer or the workload is killed, the filesystem is full, the clock jumps,
# or the device fails or is taken away. PROGRAM is the faults program. Prints a line `NAME: VALUE` for each fact; files of
# ops and recordings are told of as `NAME.ops: LINE`.

program=$1
ROOM=/tmp/faults
mkdir $ROOM

. "${0%/*}/facts.sh"

# Functions that anything is attached to, and programs and maps in the kernel.
attached() {
    cat /sys/kernel/debug/kprobes/list /sys/kernel/tracing/kprobe_events /sys/kernel/tracing/enabled_functions | wc -l
}
loaded() {
    { bpftool prog list && bpftool map list; } | grep -c '^[0-9]'
}
nothing_left() {
    [ "$(attached)" -eq 0 ] && [ "$(loaded)" -eq "$loaded_before" ]
}

cat >$ROOM/writes.toml <<'END'
[[rule]]
name = "every write is durable"
op = "write"
file = "*.data"
at_least = 5
durable_before_ack = true
END
cat >$ROOM/syncs.toml <<'END'
[[rule]]
name = "every sync is durable"
op = "sync"
durable_before_ack = true
END

# verify NAME ARGUMENTS...: by the policy for writes, or $policy.
verify() {
    name=$1
    shift
    odio-trace verify --policy $ROOM/${policy:-writes}.toml "$@" >$ROOM/out 2>$ROOM/said
    say "$name-status" $?
    say "$name-last" "$(tail -n 1 $ROOM/out)"
}

# ops NAME: tells the ops and the summary that are in a file.
ops() {
    sed "s/^/$1.ops: /" "$ROOM/$1"
}

write_durably="dd if=/dev/zero bs=4k oflag=direct,dsync"

# A tracer that is killed in the middle: its workload writes on to the end.
loaded_before=$(loaded)
mkfifo $ROOM/go
odio-trace run --json --record $ROOM/recording -- \
    sh -c "$write_durably of=unharmed.data count=200; read -r go <$ROOM/go; $write_durably of=unharmed.data seek=200 count=100
        echo \$? >$ROOM/unharmed" >$ROOM/killed 2>$ROOM/killed.err &
tracer=$!
# Without its workload nothing would ever read from the pipe below.
until_true test -s $ROOM/killed || { cat $ROOM/killed.err >&2; exit 93; }
say killed-attached "$(attached)"
say killed-loaded $(($(loaded) - loaded_before))
kill -KILL $tracer
wait $tracer
say killed-status $?
echo go >$ROOM/go
until_true nothing_left
say killed-left "$(attached)"
say killed-programs-left $(($(loaded) - loaded_before))
until_true test -s $ROOM/unharmed
say killed-workload "$(cat $ROOM/unharmed) $(stat -c %s unharmed.data)"
verify killed-recording --recording $ROOM/recording.partial
odio-trace report $ROOM/recording.partial >$ROOM/out 2>&1
say killed-report $?
verify killed-next -- $write_durably of=next.data count=7

# A workload that is killed with requests in flight.
for engine in psync libaio io_uring; do
    odio-trace run --json --op write -- sh -c "$program killed /mnt $engine direct dsync >$ROOM/submitter" \
        >"$ROOM/submitter-$engine" 2>$ROOM/said
    say "submitter-$engine-status" $?
    say "submitter-$engine-said" "$(head -n 1 $ROOM/submitter)"
    ops "submitter-$engine"
done

# A filesystem that gets full for everybody but root.
chmod 777 /mnt
user="setpriv --reuid 1000 --regid 1000 --clear-groups"
for engine in psync libaio io_uring; do
    free=$(stat -f -c '%a * %S' /mnt)
    fallocate -l $(($free - (8 << 20))) /mnt/ballast || exit 94
    odio-trace run --json --op write -- \
        sh -c "$user $program full /mnt $engine direct dsync /mnt/ballast ENOSPC >$ROOM/space" \
        >"$ROOM/full-$engine" 2>$ROOM/said
    say "full-$engine-status" $?
    say "full-$engine-said" "$(head -n 1 $ROOM/space)"
    ops "full-$engine"
    rm /mnt/full
done

# A clock that is set a day on and back all the while.
jumps() {
    count=0
    trap 'exit' TERM
    while :; do
        date -s "@$(($(date +%s) + 86400))" >/dev/null
        count=$((count + 1))
        date -s "@$(($(date +%s) - 86400))" >/dev/null
        echo $count >$ROOM/jumps
        usleep 50000
    done
}
jumps &
jumper=$!
until_true test -s $ROOM/jumps
before=$(cat $ROOM/jumps)
read -r up _ </proc/uptime
odio-trace run --json --steps -- $write_durably of=clock.data count=60 >$ROOM/clock 2>$ROOM/said
say clock-status $?
read -r now _ </proc/uptime
say clock-seconds "$up $now"
say clock-jumps $(($(cat $ROOM/jumps) - before))
ops clock
verify clock-kept -- $write_durably of=clock.data count=7
verify clock-broken -- dd if=/dev/zero of=clock.data bs=4k count=7 oflag=direct
odio-trace attach --comm nobody --duration 2s --json >$ROOM/out 2>$ROOM/said
say clock-attach-status $?
kill $jumper
wait $jumper

# A device of which 4 MiB are good, the next 4 MiB fail, and so do flushes of all of it; and one that fails no flush.
device=/dev/dm-0
make() {
    losetup -d /dev/loop0 2>/dev/null
    dd if=/dev/zero of=$ROOM/image bs=1M count=8 2>/dev/null
    losetup /dev/loop0 $ROOM/image
    printf '0 8192 linear /dev/loop0 0\n8192 8192 %s\n' "$1" | dmsetup --noudevsync --noudevrules create failing ||
        exit 90
}
make error
# 16 blocks before the border, 16 behind.
odio-trace run --json -- fio --name=f --filename=$device --offset=4128768 --size=128k --bs=4k --rw=write --direct=1 \
    --ioengine=libaio --iodepth=32 --iodepth_batch=32 --sync=dsync --continue_on_error=all --disk_util=0 \
    --output=/dev/null >$ROOM/failing 2>$ROOM/said
say failing-status $?
ops failing
# What a failed sync lost stays lost, whatever the next one says.
policy=syncs
verify sync-good -- dd if=/dev/zero of=$device bs=4k count=1 conv=fsync,notrunc
verify sync-again -- sh -c "dd if=/dev/zero of=$device bs=4k count=1 seek=1024 conv=fsync,notrunc
    dd if=/dev/zero of=$device bs=4k count=1 conv=fsync,notrunc"
verify sync-failed -- sh -c "dd if=/dev/zero of=$device bs=4k count=1 seek=1024 conv=fsync,notrunc; true"
policy=
dmsetup --noudevsync --noudevrules remove failing
losetup -d /dev/loop0

# A device without a cache of its own, of which a sync ends well also where it was taken away before.
mount -t configfs none /sys/kernel/config
null=/sys/kernel/config/nullb/nullb0
mkdir $null && echo 16 >$null/size && echo 1 >$null/memory_backed || exit 91
policy=syncs
for device in there gone; do
    echo 1 >$null/power || exit 92
    verify sync-$device -- sh -c "exec 4<>/dev/nullb0
        dd if=/dev/zero bs=4k count=4 >&4
        [ $device = there ] || echo 0 >$null/power
        dd if=/dev/null conv=fsync >&4; echo \$? >$ROOM/$device"
    say sync-$device-workload "$(cat $ROOM/$device)"
    echo 0 >$null/power
done
policy=

# A disk that is taken away under a filesystem, in the middle of the requests.
verify removed -- sh -c "$write_durably of=removed.data count=2000 &
    while [ ! -s removed.data ]; do usleep 10000; done
    echo 1 >/sys/block/${ODIO_VM_DISK##*/}/device/device/remove
    wait \$!; echo \$? >$ROOM/removed; true"
say removed-workload "$(cat $ROOM/removed)"
cd /
say after-left "$(attached)"
