#!/bin/sh
# Does a power cut take away what btrfs acknowledged as durable? run.sh [DEVICE]: OVERWRITES the device, which should
# have FUA; without one, a file of 1 GiB in TMPDIR under a loop device, which has none. Wants root, dmsetup, mkfs.btrfs
# and a C compiler (or WRITE=PROGRAM).
#
# Status 0: all that was acknowledged as durable was kept. 1: some of it was LOST. 2: nothing can be said, because
# something failed, a control did not come out as it must, or nothing was lost on a disk without FUA.
set -u
here=$(dirname "$0")
name=btrfs-aio-dsync
room=$(mktemp -d) || exit 2
loop=

fail() {
    echo "run.sh: $*" >&2
    exit 2
}

# Nothing of ours is left, whatever happened.
clean_up() {
    umount "$room/at" 2>/dev/null
    dmsetup remove "$name" 2>/dev/null
    [ -z "$loop" ] || losetup -d "$loop"
    rm -rf "$room"
}
trap clean_up EXIT
trap 'exit 2' HUP INT TERM

write=${WRITE:-$room/write}
[ -n "${WRITE:-}" ] || cc -O1 -Wall -o "$write" "$here/write.c" || fail "cannot compile write.c"
disk=${1:-}
if [ -z "$disk" ]; then
    truncate -s 1G "$room/image" || fail "no space"
    disk=$(losetup -f) && losetup "$disk" "$room/image" || fail "no loop device"
    loop=$disk
fi
sectors=$(blockdev --getsz "$disk") || fail "$disk has no size"
mkdir "$room/at" || fail "no folder"

# table KIND: what the mapped device does from now on. Nothing is flushed and no filesystem is frozen on the way.
table() {
    case $1 in
    linear) echo "0 $sectors linear $disk 0" ;;
    error) echo "0 $sectors error" ;;
    esac >"$room/table"
    dmsetup suspend --nolockfs --noflush "$name" && dmsetup load "$name" "$room/table" &&
        dmsetup resume "$name" || fail "dmsetup cannot load the table $1"
}

# one OPTIONS SITUATION EXPECTED HOW FLAG [fdatasync]: a fresh filesystem with a file of no block or of one that is
# allocated and was never written; the write, the cut, a look. EXPECTED is kept or LOST for a control, else -. A row also
# says whether the call waited for the disk.
lost=0 wrong=0 heading=
one() {
    options=$1 situation=$2 expected=$3
    shift 3
    echo "0 $sectors linear $disk 0" | dmsetup create "$name" || fail "dmsetup cannot make a device"
    dmsetup mknodes "$name"
    device=/dev/mapper/$name
    queue=/sys/dev/block/$(dmsetup info -c --noheadings --separator : -o major,minor "$name")/queue
    # A kernel to which a disk without a cache is as good as one with FUA shows the loss there too.
    [ -z "$loop" ] || echo "write through" >"$queue/write_cache" || fail "write_cache"
    fua=$(cat "$queue/fua") || fail "no $queue"
    [ -n "$heading" ] || { heading="kernel $(uname -r), $disk: $(cat "$queue/write_cache"), FUA $fua" && echo "$heading"; }
    mkfs.btrfs -q -f -K "$device" >"$room/said" 2>&1 || { cat "$room/said"; fail "mkfs.btrfs"; }
    # The commits that it makes every 30 s stay out of this.
    mount -t btrfs -o "$options,commit=300" "$device" "$room/at" || fail "mount"
    : >"$room/at/file"
    [ "$situation" = append ] || fallocate -l 4096 "$room/at/file" || fail "fallocate"
    sync

    call=waited held=
    [ "$1" = pwrite ] || call=queued held="held $name"
    # shellcheck disable=SC2086 # two words or none
    "$write" "$room/at/file" "$@" $held 2>"$room/said" || fail "not acknowledged: $* $(cat "$room/said")"
    grep -q 'waits for the disk' "$room/said" && call=waited
    # The power is off: no request that begins after this reaches the disk. What the disk had taken it keeps.
    table error
    umount "$room/at" || fail "umount"
    table linear
    mount -t btrfs -o "$options" "$device" "$room/at" || fail "mount after the cut"

    found=$("$write" "$room/at/file" look)
    status=$?
    [ $status -lt 2 ] || fail "cannot look"
    case $expected in
    -) note='' lost=$((lost | status)) ;;
    "${found%%:*}") note=", as it must be" ;;
    *) note=", and must be $expected" wrong=1 ;;
    esac
    printf '%-10s %-11s %-10s %-6s %-10s %-7s %s\n' "$options" "$situation" "$1" "$2" "${3:-}" $call "$found$note"
    umount "$room/at" && dmsetup remove "$name" || fail "cannot take the device away"
}

for options in datacow nodatacow; do
    # No sync was asked for: where this is kept, nothing was cut.
    one $options append LOST pwrite none
    one $options append kept pwrite dsync
    one $options append kept io_submit dsync fdatasync
    one $options append - io_submit dsync
    one $options append - io_submit sync
    one $options fallocated - io_submit dsync
    one $options fallocated - io_uring dsync
done
[ $wrong = 0 ] || fail "a control failed, so nothing can be said"
if [ $lost = 1 ]; then
    echo "LOST: writes that were acknowledged as durable"
    exit 1
fi
[ "$fua" = 1 ] || fail "nothing was lost; but the loss wants a disk with FUA, which this is not"
echo "kept: all that was acknowledged as durable"
