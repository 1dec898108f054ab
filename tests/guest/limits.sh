#!/bin/sh
# limits.sh PROGRAM: the faults program with little memory, with no AIO contexts, killed, and under a clock that jumps, on
# the filesystem and at last on the disk. Each case is a line `== CASE`, and then what the program printed.
set -u

program=$1
engines="psync libaio io_uring"

# fault NAME PLACE ENGINE MODE... WORD...
fault() {
    echo "== $*"
    "$program" "$@"
}

uname -r
# Who has more than 16 MiB of memory, with its page cache, is held up until it has less. With memory.max instead, pages
# that are all being written leave nothing to be taken back, and 6.12 kills whom it could have had wait.
group=/sys/fs/cgroup/pressed
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mkdir $group
echo 16M >$group/memory.high || exit 95
for engine in $engines; do
    for mode in "direct none" "buffered none"; do
        # shellcheck disable=SC2086
        (echo 0 >$group/cgroup.procs && fault pressed /mnt $engine $mode 48)
    done
done
sed 's/^/memory: /' $group/memory.events

echo 64 >/proc/sys/fs/aio-max-nr
for engine in $engines; do
    fault exhausted /mnt $engine direct dsync 64
done
echo 65536 >/proc/sys/fs/aio-max-nr

for engine in $engines; do
    for mode in "direct none" "direct dsync" "buffered none"; do
        # shellcheck disable=SC2086
        fault killed /mnt $engine $mode
    done
done

# A device whose image is a file of the filesystem that gets frozen.
fallocate -l 16M /mnt/image
losetup /dev/loop0 /mnt/image || exit 96
for mode in "psync none" "psync dsync" "libaio none" "io_uring none" "io_uring dsync"; do
    fault stalled /dev/loop0 "${mode% *}" direct "${mode#* }" /mnt jumping
done
losetup -d /dev/loop0
cd /
umount /mnt
for engine in $engines; do
    fault killed "$ODIO_VM_DISK" $engine direct dsync
done
