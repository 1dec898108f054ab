#!/bin/sh
# Does a sync that begins while another one is writing end before what it has to wait for is written? run.sh [DEVICE]:
# OVERWRITES the device; without one, a file of 64 MiB in TMPDIR under a loop device. Wants root, dmsetup with dm-delay,
# mkfs.vfat, mkfs.ext4, dumpe2fs, and a sync that takes files (coreutils 8.24, or busybox).
#
# Status 0: all that was acknowledged as durable was kept. 1: some of it was LOST. 2: nothing can be said, because
# something failed or a control did not come out as it must.
set -u
name=sync-beside-sync
mib=16
# In ms, so long that each write that is held has to be let go.
delay=600000
# In tenths of a second, after which a sync that has not returned is taken to wait.
patience=40
room=$(mktemp -d) || exit 2
loop=

fail() {
    echo "run.sh: $*" >&2
    exit 2
}

# Nothing of ours is left, whatever happened.
clean_up() {
    # What is held is let go, or the other sync would not end.
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
    truncate -s 64M "$room/image" || fail "no space"
    disk=$(losetup -f) && losetup "$disk" "$room/image" || fail "no loop device"
    loop=$disk
fi
[ "$(blockdev --getsz "$disk")" -ge $((mib * 2048)) ] || fail "$disk has no $mib MiB"
mkdir "$room/at" "$room/copied" || fail "no folder"
echo "kernel $(uname -r), $disk"

# number OFFSET BYTES: of the filesystem's first sector.
number() {
    od -A n -t "u$2" -j "$1" -N "$2" "$disk" | tr -d ' '
}

# make PART: makes the filesystem that has it, and sets first and past to the sectors where it is, and slow and quick to
# the targets of writes in there and elsewhere.
make() {
    slow=slow quick=linear
    case $1 in
    FAT)
        fs=vfat gap=1
        mkfs.vfat -F 16 -f 1 -s 4 "$disk" $((mib * 1024)) >"$room/said" 2>&1 || { cat "$room/said"; fail "mkfs.vfat"; }
        first=$(number 14 2) && past=$((first + $(number 22 2)))
        ;;
    *)
        fs=ext4 gap=2
        mkfs.ext4 -q -F -b 4096 -O ^has_journal -E nodiscard,lazy_itable_init=0 "$disk" ${mib}M >"$room/said" 2>&1 ||
            { cat "$room/said"; fail "mkfs.ext4"; }
        # Of the only group.
        table=$(dumpe2fs "$disk" 2>/dev/null | sed -n 's/^ *Inode table at \([0-9]*\)-\([0-9]*\).*/\1 \2/p')
        first=$((${table% *} * 8)) && past=$(((${table#* } + 1) * 8))
        # The blocks of extents may be anywhere else.
        [ "$1" = inode ] || { slow=linear quick=slow; }
        ;;
    esac
}

# piece FROM TO TARGET: a row of the table. Reads and flushes take no time.
piece() {
    case $3 in
    linear) echo "$1 $(($2 - $1)) linear $disk $1" ;;
    slow) echo "$1 $(($2 - $1)) delay $disk $1 0 $disk $1 $delay $disk $1 0" ;;
    esac
}

# table SLOW QUICK: what the mapped device does from now on. What is held goes to the disk before, and nothing else does.
table() {
    { piece 0 "$first" "$2" && piece "$first" "$past" "$1" && piece "$past" $((mib * 2048)) "$2"; } >"$room/table"
    dmsetup suspend --nolockfs --noflush "$name" && dmsetup load "$name" "$room/table" && dmsetup resume "$name" ||
        fail "dmsetup cannot load a table"
}

# Whether a write is held: dm-delay tells how many reads, writes and flushes are.
is_held() {
    dmsetup status "$name" | grep -q ' delay [0-9]* [1-9][0-9]* [0-9]*$'
}

until_held() {
    looks=0
    until is_held; do
        looks=$((looks + 1))
        [ $looks -lt 100 ] || fail "the first sync wrote nothing that is held"
        sleep 0.1
    done
}

# by HOW FILE: the sync that is in question.
by() {
    case $1 in
    none) ;;
    fsync) sync "$2" ;;
    fdatasync) sync -d "$2" ;;
    # Of vfat the one does not flush the device, of ext4 without a journal the other may not.
    syncfs) sync -f "$2" && sync "$2" && sync -f "$2" ;;
    esac
}

# put FILE N: its piece number N, past the page cache where the filesystem can. With a hole between each two on ext4, so
# that no extent takes in two.
put() {
    head -c 8192 /dev/zero | tr '\0' B >"$room/more" &&
        dd if="$room/more" of="$room/at/$1" bs=8192 seek=$(($2 * gap)) oflag=direct conv=notrunc 2>"$room/said" ||
        { cat "$room/said"; fail "cannot write"; }
}

# one PART BESIDE EXPECTED HOW: a fresh filesystem, two files, both of which get longer by turns; an fsync of BESIDE (one
# of the files, or nobody), and HOW of the file while PART of the other is not on the disk; a look at what is. EXPECTED is
# kept or LOST for a control, else -.
lost=0 wrong=0
one() {
    part=$1 beside=$2 expected=$3 how=$4
    make "$part"
    echo "0 $((mib * 2048)) linear $disk 0" | dmsetup create "$name" || fail "dmsetup cannot make a device"
    dmsetup mknodes "$name"
    mount -t "$fs" "/dev/mapper/$name" "$room/at" || fail "mount"
    : >"$room/at/file" && : >"$room/at/other" || fail "cannot make files"
    put file 0 && put other 0
    sync
    for piece in 1 2 3 4 5 6 7 8; do
        put other $piece && put file $piece
    done
    cp "$room/at/file" "$room/written" || fail "cp"

    table $slow $quick
    other=
    if [ "$beside" != nobody ]; then
        sync "$room/at/$beside" &
        other=$!
        until_held
    fi
    rm -f "$room/ended"
    { by "$how" "$room/at/file" && echo well || echo badly; } >"$room/ended.new" && mv "$room/ended.new" "$room/ended" &
    looks=0
    until [ -e "$room/ended" ] || [ $looks = $patience ]; do
        looks=$((looks + 1))
        sleep 0.1
    done
    call=returned
    [ -e "$room/ended" ] || { call=waited && table linear linear && wait $!; }
    grep -q well "$room/ended" || fail "not acknowledged: $how"
    # What the disk has now: a power cut leaves no more.
    dd if="$disk" of="$room/copy" bs=1M count=$mib iflag=direct 2>"$room/said" || { cat "$room/said"; fail "dd"; }
    if [ -n "$other" ]; then
        [ $call = waited ] || is_held || fail "the write of the other sync was let go too early"
        table linear linear
        wait "$other" || fail "the other sync failed"
    fi

    mount -t "$fs" -o loop,ro "$room/copy" "$room/copied" || fail "mount of what was on the disk"
    if cmp -s "$room/copied/file" "$room/written" 2>/dev/null; then
        found=kept status=0
    else
        size=$(stat -c %s "$room/copied/file" 2>/dev/null)
        found="LOST: the file has other contents" status=1
        whole=$(stat -c %s "$room/written")
        [ "$size" = "$whole" ] || found="LOST: of $whole bytes there are ${size:-none}"
        cat "$room/copied/file" >/dev/null 2>&1 || found="LOST: the file cannot be read"
    fi
    case $expected in
    -) note='' lost=$((lost | status)) ;;
    "${found%%:*}") note=", as it must be" ;;
    *) note=", and must be $expected" wrong=1 ;;
    esac
    printf '%-5s %-7s beside %-7s %-10s %-9s %s\n' "$fs" "$part" "$beside" "$how" $call "$found$note"
    table linear linear
    umount "$room/copied" && umount "$room/at" && dmsetup remove "$name" || fail "cannot take the device away"
}

for which in FAT inode extents; do
    of=file
    # All files have one FAT.
    [ $which = FAT ] && of=other
    # No sync was asked for: where this is kept, nothing was cut.
    one $which nobody LOST none
    one $which nobody kept fsync
    one $which $of kept syncfs
    one $which $of - fsync
    one $which $of - fdatasync
done
[ $wrong = 0 ] || fail "a control failed, so nothing can be said"
if [ $lost = 1 ]; then
    echo "LOST: writes that were acknowledged as durable"
    exit 1
fi
echo "kept: all that was acknowledged as durable"
