# atomic.sh ATOMIC IOPOLL CHOSEN: atomic writes to a disk of scsi_debug, counted as the commands that reach it; IOPOLL on
# that disk, which has no poll queues; and the engine that is chosen, without and with io_uring switched off.

TRACING=/sys/kernel/tracing
disk=/dev/sda
command=$TRACING/events/scsi/scsi_dispatch_cmd_start

# The disk is looked for in a thread of its own.
for second in 0 1 2 3 4 5 6 7 8 9 10; do
    [ ! -b $disk ] || break
    sleep 1
done
cat /sys/block/sda/queue/atomic_write_unit_min_bytes /sys/block/sda/queue/atomic_write_unit_max_bytes
echo 1 >$command/enable || exit 90
"$1" $disk all 2>&1
echo "== all $?"
echo 0 >$command/enable
# The first byte of the command: WRITE ATOMIC (16).
echo "== atomic $(grep -c 'raw=9c' $TRACING/trace)"

strace -o /tmp/log "$1" $disk refused 2>&1
echo "== refused $?"
# Whatever comes between two calls of getppid; and how many there are.
awk '/^getppid/ { inside = !inside; calls++; next } inside { print "== between", $0 } END { print "== calls", calls + 0 }' /tmp/log

"$2" $disk 2>&1
echo "== iopoll $?"
for value in 0 2; do
    echo $value >/proc/sys/kernel/io_uring_disabled || exit 91
    "$3" 2>&1
    echo "== chosen $?"
done
