# What makes a verdict uncertain. Prints one line `CASE STATUS LAST-LINE` for each case.

ROOM=/tmp/blind
DEBUG=/sys/kernel/debug/kprobes/enabled

# matrix CASE ARGUMENTS...
matrix() {
    name=$1
    shift
    odio-trace matrix --json --mode direct --situation overwrite --engine psync "$@" >$ROOM/json 2>$ROOM/said
    echo "$name $? $(tail -n 1 $ROOM/json)"
}

# The process that makes the requests; while it waits to begin it has another first argument.
requests_run() {
    for process in /proc/[0-9]*; do
        read -r name 2>/dev/null <"$process/comm" && [ "$name" = exe ] || continue
        case $(tr '\0' ' ' <"$process/cmdline" 2>/dev/null) in
        "/proc/self/exe requests "*) return 0 ;;
        esac
    done
    return 1
}

# Waits until the requests of a matrix are under way.
until_requests() {
    tries=0
    until requests_run; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || exit 91
        usleep 50000
    done
}

mkdir $ROOM
matrix whole
matrix ring --ring-bytes 4096
matrix table --table-entries 1 --situation unwritten

# All kprobes are disarmed before anything is traced: they attach, and never fire.
echo 0 >$DEBUG
matrix disarmed --probes kprobe
echo 1 >$DEBUG

# The same in the middle of the requests, of which there are so many that they go on.
{
    until_requests
    echo 0 >$DEBUG
} &
matrix blinded --probes kprobe --requests 600
wait
echo 1 >$DEBUG

# A filesystem comes while the requests are made.
rmmod vfat fat || exit 90
{
    until_requests
    insmod /odio/modules/*-fat.ko && insmod /odio/modules/*-vfat.ko
} &
matrix late --requests 200
wait
find . -mindepth 1 ! -name lost+found | sed 's/^/left /'
