# mounts.sh TIMES: mounts and unmounts its disk, with ext4, so often under one tracer, each time with a write and an
# fsync. Prints what the tracer told, as JSON.

at=/tmp/at
mkdir $at
mkfs.ext4 -q "$ODIO_VM_DISK" >&2 || exit
# Mounted when the tracer starts, which then knows what is on the disk: it may get to see a request when the filesystem
# is gone again.
mount -t ext4 "$ODIO_VM_DISK" $at || exit
cat >/tmp/often.sh <<END
for i in \$(seq $1); do
    dd if=/dev/zero of=$at/\$i bs=4k count=1 conv=fsync 2>/dev/null || exit
    umount $at || exit
    mount -t ext4 "$ODIO_VM_DISK" $at || exit
done
END
odio-trace run --json --op sync -- sh /tmp/often.sh
