#!/bin/sh
# failing.sh PROGRAM: runs the faults program on devices of which 4 MiB are good and the next 4 MiB fail, by the device
# mapper's targets error and flakey.
set -eu

disk=$ODIO_VM_DISK
for target in 'error' "flakey $disk 8192 0 3600"; do
    printf '0 8192 linear %s 0\n8192 8192 %s\n' "$disk" "$target" |
        dmsetup --noudevsync --noudevrules create failing
    # There is no udev to make a name for it.
    device=/dev/dm-0
    for engine in psync libaio io_uring; do
        for cache in direct buffered; do
            for sync in none dsync sync; do
                echo "== $target: $engine $cache $sync"
                "$1" failing $device $engine $cache $sync 4194304 EIO
            done
        done
    done
    dmsetup --noudevsync --noudevrules remove failing
done
