#!/bin/sh
# Does an fdatasync of f2fs send a flush where the writes before it were direct and asynchronous? flush.sh DEVICE:
# OVERWRITES the device, which needs a volatile write cache. Wants root, mkfs.f2fs and fio with libaio and io_uring.
#
# Status 0: there was a flush for each fdatasync. 1: there were fewer. 2: nothing can be said, because something failed or
# the control, synchronous writes, had not one for each.
set -u
writes=200
room=$(mktemp -d) || exit 2

fail() {
    echo "flush.sh: $*" >&2
    exit 2
}

clean_up() {
    umount "$room/at" 2>/dev/null
    rm -rf "$room"
}
trap clean_up EXIT
trap 'exit 2' HUP INT TERM

disk=${1:?flush.sh DEVICE}
queue=/sys/class/block/${disk##*/}
grep -q 'write back' "$queue/queue/write_cache" || fail "$disk has no volatile write cache: nobody would flush it"
mkdir "$room/at" || fail "no folder"
mkfs.f2fs -q -f -t 0 "$disk" 131072 >"$room/said" 2>&1 || { cat "$room/said"; fail "mkfs.f2fs"; }
mount -t f2fs "$disk" "$room/at" || fail "mount"
dd if=/dev/zero of="$room/at/file" bs=1M count=4 conv=fsync 2>"$room/said" || { cat "$room/said"; fail "dd"; }
sync
echo "kernel $(uname -r), $disk"

# The sixteenth number of the disk's stat is that of flushes (Documentation/block/stat.rst).
flushes() {
    # shellcheck disable=SC2046
    set -- $(cat "$queue/stat")
    shift 15
    echo "$1"
}

few=0
for engine in psync libaio io_uring; do
    before=$(flushes)
    fio --name=file --filename="$room/at/file" --direct=1 --ioengine=$engine --iodepth=1 --rw=randwrite --bs=4k --size=4m \
        --overwrite=1 --fallocate=none --number_ios=$writes --fdatasync=1 --output-format=json >"$room/fio" 2>"$room/said" ||
        { cat "$room/said"; fail "fio"; }
    sent=$(($(flushes) - before))
    syncs=$(sed -n '/"sync" *: *{/,/"N"/s/.*"N" *: *\([0-9]*\).*/\1/p' "$room/fio" | tail -n 1)
    [ "${syncs:-0}" -gt 0 ] || fail "fio told of no fdatasync"
    echo "$engine: $sent flushes for $syncs fdatasyncs"
    [ $sent -ge "$syncs" ] || few="$few $engine"
done
case $few in
0) echo "a flush for each" ;;
*psync*) fail "the control failed, so nothing can be said" ;;
*) echo "FEWER flushes than fdatasyncs that were acknowledged" && exit 1 ;;
esac
