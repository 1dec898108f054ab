#!/odio/busybox/sh
# The first and only service of the guest: mounts, runs one command, reports.
#
# Each output of the command goes through a pipe to a port of its own, and so
# does what it leaves in the folder of files, as an archive. What
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
control=$(port odio.control)
exec 3>"$out" 4>"$err" 6<"$control" || give_up "cannot open the ports"
if [ -n "$OUT" ]; then
    files=$(port odio.files)
    exec 5>"$files" || give_up "cannot open the ports"
    mkdir -p "$OUT"
fi
if [ -n "$TERMINAL" ]; then
    [ -e "$TERMINAL" ] || give_up "no $TERMINAL: this kernel needs VIRTIO_CONSOLE"
fi

file=$(find_device "$DISK" "$DISK_SERIALS" \
    "no disk: this kernel needs BLK_DEV_NVME, or VIRTIO_BLK for the others \
(where that is a module: --module nvme, or virtio_blk)")
file=${file#/sys/block/}
disk=/dev/${file%%/*}
if [ "$FS" != none ]; then
    mount -t "$FS" -o "$FS_OPTIONS" "$disk" /mnt ||
        give_up "cannot mount $disk: has this kernel $FS?"
fi
rm -rf /mnt/lost+found

# Everything but this script and what passes the outputs on.
signal_all() {
    for process in /proc/[0-9]*; do
        process=${process#/proc/}
        case $process in
        1 | "$relay_out" | "$relay_err" | "$2") ;;
        *) kill "-$1" "$process" 2>/dev/null ;;
        esac
    done
}

mkfifo /run/stdout /run/stderr
echo "$MARK" >&3
echo "$MARK" >&4
[ -z "$OUT" ] || echo "$MARK" >&5
cat /run/stdout >&3 4>&- 5>&- 6<&- &
relay_out=$!
cat /run/stderr >&4 3>&- 5>&- 6<&- &
relay_err=$!

(
    [ -z "$OUT" ] || export ODIO_VM_OUT="$OUT"
    terminal=$TERMINAL
    unset MARK DISK DISK_SERIALS FS FS_OPTIONS OUT TERMINAL
    export ODIO_VM_DISK="$disk"
    . /odio/environment
    ulimit -l unlimited
    cd /mnt || exit
    [ -n "$terminal" ] || . /odio/command
    export PS1='odio-vm:\w# '
    # A shell that has a terminal to itself controls jobs.
    exec setsid -c sh /odio/command <>"$terminal" >&0 2>&0
) </dev/null >/run/stdout 2>/run/stderr 3>&- 4>&- 5>&- 6<&- &
command=$!

while read -r word rows columns <&6; do
    case $word in
    size) stty -F "$TERMINAL" rows "$rows" cols "$columns" ;;
    stop)
        # Itself not: this is a process of its own.
        read -r self _ </proc/self/stat
        signal_all TERM "$self"
        sleep 2
        kill -9 "$command"
        ;;
    esac
done >/dev/null 2>&1 3>&- 4>&- 5>&- &

wait "$command"
status=$?

# What the command left behind would keep the pipes open.
signal_all 9
wait "$relay_out" "$relay_err"
# What a terminal still holds is written before its settings change.
[ -z "$TERMINAL" ] || stty -F "$TERMINAL" sane

if [ -n "$OUT" ]; then
    tar -c -C "$OUT" . >&5
    echo "$MARK $?" >&5
fi
echo "$MARK $status" >&3
echo "$MARK $status" >&4
poweroff -f
