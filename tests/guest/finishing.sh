# finishing.sh PROGRAM: how often btrfs_sync_file is called for queued writes that must be durable, on a file with
# checksums and on one without. One line for each: `FILE ENGINE WAY STATUS CALLS added N`.

TRACING=/sys/kernel/tracing
calls() {
    awk '{ print $2 }' $TRACING/kprobe_profile
}

# A disk of scsi_debug, whose answers can be made to wait.
delay() {
    echo "$1" >/sys/bus/pseudo/drivers/scsi_debug/delay || exit 87
}
for second in 0 1 2 3 4 5 6 7 8 9 10; do
    [ ! -b /dev/sda ] || break
    sleep 1
done
mkfs.btrfs -q /dev/sda || exit 88
mkdir /tmp/slow
mount -t btrfs /dev/sda /tmp/slow || exit 88
cd /tmp/slow || exit 88
touch summed plain
chattr +C plain || exit 89
for file in summed plain; do
    dd if=/dev/zero of=$file bs=4k count=16 conv=notrunc oflag=direct 2>/dev/null || exit 90
done
sync
echo 'p:odio/synced btrfs_sync_file' >$TRACING/kprobe_events || exit 91
echo 1 >$TRACING/events/odio/synced/enable || exit 92
for file in summed plain; do
    for engine in libaio io_uring; do
        for way in kernel none mode flag; do
            sync
            # By itself the kernel syncs what has ended before the call that hands it over returns. In jiffies.
            [ $way != kernel ] || delay 25
            before=$(calls)
            said=$("$1" $file $engine $way 2>&1)
            status=$?
            after=$(calls)
            delay 0
            echo "$file $engine $way $status $((after - before)) $said"
        done
    done
done
