#!/bin/sh
# devices.sh PROGRAM: the faults program on devices with bad sectors, on one that has few requests of its own, and on
# devices that are taken away, a filesystem's too. Each case is a line `== CASE`, and then what the program printed.
set -u

program=$1
engines="psync libaio io_uring"
scsi=/sys/bus/pseudo/drivers/scsi_debug

# fault NAME DEVICE ENGINE MODE... WORD...
fault() {
    echo "== $*"
    "$program" "$@"
}

until_disk() {
    tries=0
    until [ -b "$1" ]; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || exit 90
        usleep 50000
    done
}

# One error for each request that had a bad sector, which is what a device is asked for: none is made of several.
alone() {
    echo none >"/sys/block/$1/queue/scheduler" && echo 2 >"/sys/block/$1/queue/nomerges" || exit 91
}

uname -r
until_disk /dev/sda
alone sda
mount -t configfs none /sys/kernel/config
null=/sys/kernel/config/nullb/nullb0
mkdir $null || exit 92
echo 16 >$null/size
echo 1 >$null/memory_backed
echo +83-83 >$null/badblocks
echo 1 >$null/power || exit 93
alone nullb0
for engine in $engines; do
    for mode in "direct none" "direct dsync" "buffered none"; do
        # shellcheck disable=SC2086 # a mode is two words
        fault bad /dev/nullb0 $engine $mode 83 1 EIO EIO
    done
    for mode in "direct none" "buffered none"; do
        # shellcheck disable=SC2086
        fault bad /dev/sda $engine $mode 83 4 ENODATA none
    done
done
# No bad sectors any more, and 2 ms for each answer.
echo 0 >$scsi/opts
echo 2000000 >$scsi/ndelay || exit 94
echo -83-83 >$null/badblocks
echo 0 >$null/power
echo 2 >$null/irqmode
echo 2000000 >$null/completion_nsec
echo 1 >$null/power || exit 96

echo 4 >/sys/block/sda/queue/nr_requests || exit 95
for engine in $engines; do
    fault nowait /dev/sda $engine direct none
done

for engine in $engines; do
    for mode in "direct none" "direct dsync" "buffered none" "buffered dsync"; do
        # shellcheck disable=SC2086
        fault removed /dev/sda $engine $mode /sys/block/sda/device/delete 1 /sys/class/scsi_host/host0/scan '- - -'
        until_disk /dev/sda
    done
    for mode in "direct none" "direct dsync"; do
        # shellcheck disable=SC2086
        fault removed "$ODIO_VM_DISK" $engine $mode "/sys/block/${ODIO_VM_DISK##*/}/device/${REMOVE:-device/}remove" 1 \
            /sys/bus/pci/rescan 1
        until_disk "$ODIO_VM_DISK"
    done
    # Without a cache of its own, so no flush fails where it is gone.
    for mode in "direct none" "direct dsync" "buffered none" "buffered dsync"; do
        # shellcheck disable=SC2086
        fault removed /dev/nullb0 $engine $mode $null/power 0 $null/power 1
        until_disk /dev/nullb0
    done
done

# Without a journal names and sizes are in the pages of the device, and nowhere else.
mkdir /tmp/mounted
echo 0 >$null/power
for fs in vfat ext4; do
    for engine in $engines; do
        echo 1 >$null/power || exit 97
        case $fs in
        vfat) mkfs.vfat /dev/nullb0 >/dev/null 2>&1 ;;
        ext4) mkfs.ext4 -q -F -O ^has_journal /dev/nullb0 ;;
        esac && mount -t $fs /dev/nullb0 /tmp/mounted || exit 98
        fault unplugged /tmp/mounted $engine buffered none $null/power 0
        umount -l /tmp/mounted
    done
done
