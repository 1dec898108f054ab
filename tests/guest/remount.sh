# remount.sh: writes to its disk through one mount, through another one that has its number, and with another filesystem.
# Prints what the tracer told, as JSON.

mkdir /tmp/a /tmp/b
mkfs.ext4 -q "$ODIO_VM_DISK" >&2 || exit
cat >/tmp/remount.sh <<END
write() {
    dd if=/dev/zero of=\$1 bs=4k count=1 oflag=dsync conv=notrunc 2>/dev/null
}
mount -t ext4 "$ODIO_VM_DISK" /tmp/a && write /tmp/a/x && umount /tmp/a || exit
mount -t ext4 "$ODIO_VM_DISK" /tmp/b && write /tmp/b/x && umount /tmp/b || exit
mkfs.vfat "$ODIO_VM_DISK" >/dev/null 2>&1 || exit
mount -t vfat "$ODIO_VM_DISK" /tmp/b && write /tmp/b/y && umount /tmp/b || exit
END
odio-trace run --json --op write -- sh /tmp/remount.sh
