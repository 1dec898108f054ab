#!/odio/busybox/sh
# The first and only service of the guest: mounts, runs one command, reports.
#
# Each output of the command goes through a pipe to a port of its own. What
# comes before the first mark on a port and what follows the second is not
# the command's. The ports themselves are not given to it, because a port can
# be opened only once, and /dev/stderr must be good for that.

PATH=/odio/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/odio/busybox
HOME=/root USER=root LOGNAME=root TERM=linux
export PATH HOME USER LOGNAME TERM

# Ends the VM; the other side looks for this line on the console.
give_up() {
    echo "odio-vm: $*" >/dev/console
    poweroff -f
    exit 1
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev || give_up "no devtmpfs in this kernel"
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmp /dev/shm
# No mount on /tmp or /run: files that were carried in may lie there.
chmod 1777 /tmp
# What a kernel does not have is not there; that is for the command to say.
{
    mount -t tracefs tracefs /sys/kernel/tracing
    mount -t debugfs debugfs /sys/kernel/debug
    mount -t bpf bpf /sys/fs/bpf
    mount -t securityfs securityfs /sys/kernel/security
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    ip link set lo up
    hostname odio-vm
    ln -s /proc/self/fd /dev/fd
    ln -s /proc/self/fd/0 /dev/stdin
    ln -s /proc/self/fd/1 /dev/stdout
    ln -s /proc/self/fd/2 /dev/stderr
    ln -s /proc/mounts /etc/mtab
    echo 1 >/proc/sys/vm/panic_on_oom
} 2>/dev/null

# shellcheck source=/dev/null
. /odio/settings
# The marks are nobody else's business.
rm /odio/settings

for module in /odio/modules/*.ko; do
    [ -e "$module" ] || continue
    read -r parameters <"${module%.ko}.parameters"
    set -f
    # shellcheck disable=SC2086 # each parameter is a word
    insmod "$module" $parameters || give_up "cannot load $module $parameters"
    set +f
done

# Ports and disks appear a moment after their drivers, and are told by the
# names that the host gave them: their order is nothing to rely on.
find_device() {
    tries=0
    while [ $tries -lt 100 ]; do
        for file in $2; do
            [ -e "$file" ] || continue
            read -r name <"$file"
            # shellcheck disable=SC2086 # serial numbers are padded with blanks
            set -- "$1" "$2" "$3" $name
            [ "$4" = "$1" ] || continue
            echo "$file"
            return
        done
        tries=$((tries + 1))
        usleep 20000
    done
    give_up "$3"
}

port() {
    file=$(find_device "$1" '/sys/class/virtio-ports/*/name' \
        "no virtio port: this kernel needs VIRTIO_PCI and VIRTIO_CONSOLE") || exit
    file=${file%/name}
    echo "/dev/${file##*/}"
}

out=$(port odio.out)
err=$(port odio.err)
exec 3>"$out" 4>"$err" || give_up "cannot open the ports"

file=$(find_device "$DISK" "$DISK_SERIALS" \
    "no disk: this kernel needs BLK_DEV_NVME, or VIRTIO_BLK for the others")
file=${file#/sys/block/}
disk=/dev/${file%%/*}
if [ "$FS" != none ]; then
    mount -t "$FS" -o "$FS_OPTIONS" "$disk" /mnt ||
        give_up "cannot mount $disk: has this kernel $FS?"
fi
rm -rf /mnt/lost+found

mkfifo /run/stdout /run/stderr
echo "$MARK" >&3
echo "$MARK" >&4
cat /run/stdout >&3 4>&- &
relay_out=$!
cat /run/stderr >&4 3>&- &
relay_err=$!

(
    unset MARK DISK DISK_SERIALS FS FS_OPTIONS
    export ODIO_VM_DISK="$disk"
    . /odio/environment
    ulimit -l unlimited
    cd /mnt || exit
    . /odio/command
) </dev/null >/run/stdout 2>/run/stderr 3>&- 4>&- &
wait $!
status=$?

# What the command left behind would keep the pipes open.
for process in /proc/[0-9]*; do
    process=${process#/proc/}
    case $process in
    1 | "$relay_out" | "$relay_err") ;;
    *) kill -9 "$process" 2>/dev/null ;;
    esac
done
wait "$relay_out" "$relay_err"

echo "$MARK $status" >&3
echo "$MARK $status" >&4
poweroff -f
