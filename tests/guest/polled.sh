# polled.sh IOPOLL SQPOLL REFUSED: the two programs on the disk itself, or on the filesystem where there is one. Each
# line `== NAME STATUS` is after what it printed. Where it was polled, nvme_poll has been called.

TRACING=/sys/kernel/tracing
iopoll=$1
sqpoll=$2
refused=$3

uname -r
file=$ODIO_VM_DISK
place=$file
if mount | grep -q ' on /mnt '; then
    file=/mnt/file
    place=/mnt
    dd if=/dev/zero of=$file bs=64k count=1 oflag=direct 2>/dev/null || exit 90
    sync
fi
echo 'p:odio/polled nvme_poll' >$TRACING/kprobe_events || exit 91
echo 1 >$TRACING/events/odio/polled/enable || exit 92
"$iopoll" "$file" 2>&1
echo "== iopoll $?"
echo 0 >$TRACING/events/odio/polled/enable
# Name, hits, misses.
awk '{ print "== hits", ($2 > 0) }' $TRACING/kprobe_profile
"$sqpoll" "$place" 2>&1
echo "== sqpoll $?"
for engine in psync libaio io_uring; do
    "$refused" /mnt $engine 2>&1
    echo "== refused $?"
done
