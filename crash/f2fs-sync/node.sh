#!/bin/sh
# Does the first sync after a checkpoint of f2fs end before the node block that it writes is on the disk? node.sh [DEVICE]:
# OVERWRITES the device; without one, a file of 128 MiB in TMPDIR under a loop device. Wants root, dmsetup with dm-delay,
# mkfs.f2fs, and a sync that takes files (coreutils 8.24, or busybox).
#
# Status 0: all that was acknowledged as durable was kept. 1: some of it was LOST. 2: nothing can be said, because
# something failed or a control did not come out as it must.
set -u
name=f2fs-sync
mib=64
# In ms, so long that each write that is held has to be let go.
delay=600000
# In tenths of a second, after which a sync that has not returned is taken to wait.
patience=40
room=$(mktemp -d) || exit 2
loop=

fail() {
    echo "node.sh: $*" >&2
    exit 2
}

# Nothing of ours is left, whatever happened.
clean_up() {
    # What is held is let go, or a sync would not end.
    dmsetup suspend --nolockfs --noflush "$name" 2>/dev/null &&
        echo "0 $((mib * 2048)) linear $disk 0" | dmsetup load "$name" && dmsetup resume "$name"
    wait
    umount "$room/at" 2>/dev/null
    umount "$room/copied" 2>/dev/null
    dmsetup remove "$name" 2>/dev/null
    [ -z "$loop" ] || losetup -d "$loop"
    rm -rf "$room"
}
trap clean_up EXIT
trap 'exit 2' HUP INT TERM

disk=${1:-}
if [ -z "$disk" ]; then
    truncate -s 128M "$room/image" || fail "no space"
    disk=$(losetup -f) && losetup "$disk" "$room/image" || fail "no loop device"
    loop=$disk
fi
[ "$(blockdev --getsz "$disk")" -ge $((mib * 2048)) ] || fail "$disk has no $mib MiB"
mkdir "$room/at" "$room/copied" || fail "no folder"
echo "kernel $(uname -r), $disk"

# number OFFSET BYTES: of the disk.
number() {
    od -A n -t "u$2" -j "$1" -N "$2" "$disk" | tr -d ' '
}

# Sets first and past to the sectors of the log in which the nodes of files are (CURSEG_WARM_NODE), by f2fs_super_block
# and the newer of the two f2fs_checkpoint.
find_nodes() {
    segment=$((1 << $(number $((1024 + 20)) 4)))
    checkpoint=$(($(number $((1024 + 76)) 4) * 4096)) && other=$((checkpoint + segment * 4096))
    [ "$(number $other 8)" -le "$(number $checkpoint 8)" ] || checkpoint=$other
    block=$(($(number $((1024 + 92)) 4) + $(number $((checkpoint + 40)) 4) * segment))
    first=$((block * 8)) && past=$(((block + segment) * 8))
}

# piece FROM TO TARGET: a row of the table. Reads and flushes take no time.
piece() {
    case $3 in
    linear) echo "$1 $(($2 - $1)) linear $disk $1" ;;
    slow) echo "$1 $(($2 - $1)) delay $disk $1 0 $disk $1 $delay $disk $1 0" ;;
    esac
}

# table NODES: what the mapped device does with writes of nodes from now on. What is held goes to the disk before.
table() {
    { piece 0 "$first" linear && piece "$first" "$past" "$1" && piece "$past" $((mib * 2048)) linear; } >"$room/table"
    dmsetup suspend --nolockfs --noflush "$name" && dmsetup load "$name" "$room/table" && dmsetup resume "$name" ||
        fail "dmsetup cannot load a table"
}

# Whether a write is held: dm-delay tells how many reads, writes and flushes are.
is_held() {
    dmsetup status "$name" | grep -q ' delay [0-9]* [1-9][0-9]* [0-9]*$'
}

# by HOW FILE: the sync that is in question.
by() {
    case $1 in
    none) ;;
    fsync) sync "$2" ;;
    fdatasync) sync -d "$2" ;;
    syncfs) sync -f "$2" ;;
    esac
}

# append FILE CACHE
append() {
    flag=
    [ "$2" = buffered ] || flag=oflag=direct
    head -c 8192 /dev/zero | tr '\0' B >"$room/more" &&
        dd if="$room/more" of="$room/at/$1" bs=8192 $flag conv=notrunc 2>"$room/said" ||
        { cat "$room/said"; fail "cannot write"; }
}

# one CACHE WHICH EXPECTED HOW [OPTION]: a fresh filesystem with two files and a checkpoint behind them; HOW of one of them
# while its node cannot get to the disk, as the first sync after the checkpoint or, behind one of the other file, as the
# second; a look at what is on the disk when it has returned. EXPECTED is kept or LOST for a control, else -.
lost=0 wrong=0
one() {
    cache=$1 which=$2 expected=$3 how=$4 option=${5:-}
    mkfs.f2fs -q -f -t 0 "$disk" $((mib * 2048)) >"$room/said" 2>&1 || { cat "$room/said"; fail "mkfs.f2fs"; }
    echo "0 $((mib * 2048)) linear $disk 0" | dmsetup create "$name" || fail "dmsetup cannot make a device"
    dmsetup mknodes "$name"
    mount -t f2fs -o "nodiscard${option:+,$option}" "/dev/mapper/$name" "$room/at" || fail "mount"
    : >"$room/at/file" && : >"$room/at/other" || fail "cannot make files"
    sync -f "$room/at"
    find_nodes
    if [ "$which" = second ]; then
        append other "$cache"
        sync "$room/at/other"
    fi
    append file "$cache"
    cp "$room/at/file" "$room/written" || fail "cp"

    table slow
    rm -f "$room/ended"
    { by "$how" "$room/at/file" && echo well || echo badly; } >"$room/ended.new" && mv "$room/ended.new" "$room/ended" &
    looks=0
    until [ -e "$room/ended" ] || [ $looks = $patience ]; do
        looks=$((looks + 1))
        sleep 0.1
    done
    call=returned held=
    ! is_held || held=", with a node held"
    [ -e "$room/ended" ] || { call=waited && table linear && wait $!; }
    grep -q well "$room/ended" || fail "not acknowledged: $how"
    # What the disk has now: a power cut leaves no more.
    dd if="$disk" of="$room/copy" bs=1M count=$mib iflag=direct 2>"$room/said" || { cat "$room/said"; fail "dd"; }
    table linear

    # Which replays what was synced since the checkpoint.
    mount -t f2fs -o loop "$room/copy" "$room/copied" || fail "mount of what was on the disk"
    if cmp -s "$room/copied/file" "$room/written" 2>/dev/null; then
        found=kept status=0
    else
        size=$(stat -c %s "$room/copied/file" 2>/dev/null)
        found="LOST: of $(stat -c %s "$room/written") bytes there are ${size:-none}" status=1
    fi
    case $expected in
    -) note='' lost=$((lost | status)) ;;
    "${found%%:*}") note=", as it must be" ;;
    *) note=", and must be $expected" wrong=1 ;;
    esac
    printf '%-8s %-6s %-9s %-18s %s%s: %s\n' "$cache" "$which" "$how" "$option" $call "$held" "$found$note"
    umount "$room/copied" && umount "$room/at" && dmsetup remove "$name" || fail "cannot take the device away"
}

for cache in buffered direct; do
    # No sync was asked for: where this is kept, nothing was cut.
    one $cache first LOST none
    one $cache first kept syncfs
    one $cache second kept fsync
    one $cache second kept fdatasync
    one $cache first - fsync
    one $cache first - fdatasync
    one $cache first - fsync fsync_mode=strict
done
[ $wrong = 0 ] || fail "a control failed, so nothing can be said"
if [ $lost = 1 ]; then
    echo "LOST: writes that were acknowledged as durable"
    exit 1
fi
echo "kept: all that was acknowledged as durable"
