#!/bin/sh
# quota.sh PROGRAM: the faults program on fresh filesystems of the disk that are full, and where a user's quota is. Each
# case is a line `== CASE`, and then what the program printed.
set -u

program=$1
engines="psync libaio io_uring"
user="setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps=-all --bounding-set=-all"

# fault NAME PLACE ENGINE MODE... WORD...
fault() {
    echo "== $*"
    $as "$program" "$@"
}
as=

# fresh FILESYSTEM: a new one at /mnt, with quotas of users.
fresh() {
    cd / || exit 90
    umount /mnt 2>/dev/null
    case $1 in
    ext4) mkfs.ext4 -qF -m 0 -O quota -E lazy_itable_init=0 "$ODIO_VM_DISK" ;;
    xfs) mkfs.xfs -qf "$ODIO_VM_DISK" ;;
    esac || exit 91
    mount -t "$1" -o usrquota "$ODIO_VM_DISK" /mnt || exit 92
    chmod 777 /mnt
}

# A file that leaves 8 MiB of the filesystem, or, of the user, of the quota.
ballast() {
    free=$(stat -f -c '%a * %S' /mnt)
    $as fallocate -l $((${1:-$free} - (8 << 20))) /mnt/ballast || exit 93
}

uname -r
for filesystem in ext4 xfs; do
    for engine in $engines; do
        for mode in "direct dsync" "buffered none"; do
            fresh $filesystem
            as=
            ballast
            # shellcheck disable=SC2086 # a mode is two words
            fault full /mnt $engine $mode /mnt/ballast ENOSPC
            rm -r /mnt/full
            xfs_quota -f -x -c 'limit bhard=64m 1000' /mnt || exit 94
            as=$user
            ballast $((64 << 20))
            # shellcheck disable=SC2086
            fault full /mnt $engine $mode /mnt/ballast EDQUOT
            as=
        done
    done
done
