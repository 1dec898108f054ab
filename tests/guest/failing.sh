#!/bin/sh
# failing.sh PROGRAM: runs the faults program on devices of which 4 MiB are good and the next 4 MiB fail, by the device
# mapper's targets error, and flakey, which fails flushes of the whole device as well.
set -eu

# There is no udev to make a name for it.
device=/dev/dm-0
make() {
    printf '0 8192 linear %s 0\n8192 8192 %s\n' "$ODIO_VM_DISK" "$1" |
        dmsetup --noudevsync --noudevrules create failing
}

make error
for engine in psync libaio io_uring; do
    for cache in direct buffered; do
        for sync in none dsync sync; do
            echo "== error: $engine $cache $sync"
            "$1" failing $device $engine $cache $sync 4194304 EIO
        done
    done
done
dmsetup --noudevsync --noudevrules remove failing

make "flakey $ODIO_VM_DISK 8192 0 3600"
for engine in psync libaio io_uring; do
    for cache in direct buffered; do
        echo "== flakey: $engine $cache"
        "$1" flushing $device $engine $cache none
    done
done
