#!/bin/sh
# quota.sh PROGRAM: the faults program on fresh filesystems of the disk that are full, and where a user's quota is, or a
# project's. Each case is a line `== CASE`, and then what the program printed.
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

# fresh FILESYSTEM: a new one at /mnt, with quotas of users and projects.
fresh() {
    cd / || exit 90
    umount /mnt 2>/dev/null
    case $1 in
    ext4) mkfs.ext4 -qF -m 0 -O quota,project -E lazy_itable_init=0,quotatype=usrquota:prjquota "$ODIO_VM_DISK" ;;
    xfs) mkfs.xfs -qf "$ODIO_VM_DISK" ;;
    esac || exit 91
    mount -t "$1" -o usrquota,prjquota "$ODIO_VM_DISK" /mnt || exit 92
    chmod 777 /mnt
}

# ballast PLACE [BYTES]: a file there that leaves 8 MiB of so many, or of the filesystem.
ballast() {
    free=$(stat -f -c '%a * %S' "$1")
    $as fallocate -l $((${2:-$free} - (8 << 20))) "$1/ballast" || exit 93
}

quota() {
    xfs_quota -f -x "$@" /mnt >/dev/null || exit 94
}

uname -r
for filesystem in ext4 xfs; do
    for engine in $engines; do
        for mode in "direct dsync" "buffered none"; do
            fresh $filesystem
            as=
            ballast /mnt
            # shellcheck disable=SC2086 # a mode is two words
            fault full /mnt $engine $mode /mnt/ballast ENOSPC
            rm -r /mnt/full
            mkdir -m 777 /mnt/project
            # XFS says of a project that is full what it says of a full filesystem.
            [ $filesystem = xfs ] && project=ENOSPC || project=EDQUOT
            as=$user
            quota -c 'project -s -p /mnt/project 1' -c 'limit -p bhard=64m 1'
            ballast /mnt/project $((64 << 20))
            # shellcheck disable=SC2086
            fault full /mnt/project $engine $mode /mnt/project/ballast $project
            rm /mnt/project/full
            quota -c 'limit bhard=64m 1000'
            ballast /mnt $((64 << 20))
            # shellcheck disable=SC2086
            fault full /mnt $engine $mode /mnt/ballast EDQUOT
            as=
        done
    done
done
