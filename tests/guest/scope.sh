# Which processes are traced, what of them is shown, and what they are given. Prints one line `NAME: VALUE` for each
# fact; NAME.ops is the file that holds the ops of one tracer.

ROOM=/tmp/scope
mkdir -m 1777 $ROOM
PIDS=

# count FILE WORDS: how many lines of FILE have all the words.
count() {
    lines=$(cat "$1")
    shift
    for word in "$@"; do
        lines=$(echo "$lines" | grep -F -e "$word")
    done
    echo "$lines" | grep -c .
}

summary() {
    tail -n 1 "$ROOM/$1" | grep -o "\"$2\":[0-9]*" | cut -d: -f2
}

# attach NAME OPTIONS: starts a tracer and waits until it traces.
attach() {
    name=$1
    shift
    # Not with the writing end of what its subject reads.
    odio-trace attach --json "$@" 7>&- >"$ROOM/$name" 2>"$ROOM/$name.err" &
    tracer=$!
    until_true grep -q tracing "$ROOM/$name.err" || say "$name-started" no
}

# ended NAME: waits for the tracer, and tells how it ended.
ended() {
    wait $tracer
    say "$1-status" $?
    for what in ops lost missed open begun_before; do
        say "$1-$what" "$(summary "$1" $what)"
    done
}

writes() {
    count "$ROOM/$1" '"op":"write"' "$2"
}

# work FILE BLOCKS: so many direct writes and one sync.
work() {
    dd if=/dev/zero of="$1" bs=4k count="$2" oflag=direct conv=fsync 2>/dev/null
}

# A process that was there before the tracer, and works on demand in children of its own.
mkfifo $ROOM/orders
sh -c 'while read -r n; do dd if=/dev/zero of=by-pid bs=4k count=$n oflag=direct conv=fsync 2>/dev/null; done' <$ROOM/orders &
worker=$!
exec 7>$ROOM/orders
attach pid --pid $worker
echo 7 >&7
work bystander 5
echo 11 >&7
exec 7>&-
ended pid
wait $worker
say pid-writes "$(writes pid by-pid)"
say pid-syncs "$(count $ROOM/pid '"op":"sync"' by-pid)"
say pid-bystander "$(count $ROOM/pid bystander)"

# By name: a process that has it, one that execs into it, and one that takes it by itself.
mkfifo $ROOM/data
dd if=$ROOM/data of=by-name bs=4k iflag=fullblock oflag=direct 2>/dev/null &
before=$!
exec 7>$ROOM/data
attach comm --comm dd
head -c 12288 /dev/zero >&7
exec 7>&-
wait $before
work by-exec 13
sh -c 'printf dd >/proc/$$/comm; echo x >by-taking'
sh -c 'echo x >bystander'
kill -INT $tracer
ended comm
say comm-before "$(writes comm by-name)"
say comm-exec "$(writes comm by-exec)"
say comm-taking "$(writes comm by-taking)"
say comm-bystander "$(count $ROOM/comm bystander)"

# By cgroup, with one below it.
mkdir -p /sys/fs/cgroup/odio/below
attach cgroup --cgroup /sys/fs/cgroup/odio
for where in odio odio/below .; do
    sh -c 'echo $$ >/sys/fs/cgroup/$0/cgroup.procs; exec dd if=/dev/zero of=$1 bs=4k count=17 oflag=direct 2>/dev/null' \
        $where "group-$(basename $where)"
done
kill -INT $tracer
ended cgroup
say cgroup-in "$(writes cgroup group-odio)"
say cgroup-below "$(writes cgroup group-below)"
say cgroup-outside "$(count $ROOM/cgroup group-.)"
rmdir /sys/fs/cgroup/odio/below /sys/fs/cgroup/odio

# Long writes with a sync at their end: of the one that goes on already, the sync is no request of its own.
sh -c 'while :; do dd if=/dev/zero of=long bs=8M count=8 oflag=direct,sync 2>/dev/null; done' &
worker=$!
attach late --pid $worker
sleep 1
kill $worker
ended late
say late-writes "$(writes late long)"
say late-syncs "$(count $ROOM/late '"op":"sync"')"

# Ends by itself, with what it traces still there.
attach duration --duration 700ms --comm nobody
ended duration
odio-trace attach --pid 99999 2>$ROOM/none
say none-status $?
say none-message "$(cat $ROOM/none)"

# Filters.
filtered() {
    name=$1
    shift
    odio-trace run --json "$@" -- sh -c 'dd if=/dev/zero of=x.keep bs=4k count=5 oflag=direct conv=fsync
        dd if=/dev/zero of=x.drop bs=4k count=3 oflag=direct conv=fsync' >"$ROOM/$name" 2>/dev/null
    say "$name-ops" "$(summary "$name" ops)"
    say "$name-lines" "$(count "$ROOM/$name" '"type":"op"')"
    say "$name-filtered" "$(summary "$name" filtered)"
    say "$name-lost" "$(summary "$name" lost)"
}
filtered all
filtered file --file '*.keep' --op write,sync
filtered latency --min-latency 1h
filtered node --dev "$ODIO_VM_DISK" --op sync --file '/mnt/x.*'

# Names: as the process sees them. Those with mounts or a root of their own stay until they can be looked at.
mkdir -p /mnt/deep/sub /opt/seen /mnt/jail
for applet in sh sleep; do
    cp /odio/busybox/busybox /mnt/jail/$applet
done
odd=$(printf 'odd-\377\033[1m')
export odd
# shellcheck disable=SC2016
odio-trace run --json -- sh -c '
    unshare -m sh -c "mount --bind /mnt/deep/sub /opt/seen; echo x >/opt/seen/bound; sleep 5"
    chroot /mnt/jail /sh -c "echo x >/jailed; /sleep 5"
    echo x >"$odd"
    exec 8>gone; rm gone; echo x >&8; exec 8>&-
    echo x >first; rm first; echo x >second
    echo x >linked; ln linked other; mv linked renamed; echo x >>other
' >$ROOM/names 2>$ROOM/names.err
say names-status $?
cat $ROOM/names | grep -F '"op":"write"' >$ROOM/writes
for path in /opt/seen/bound /jailed /mnt/gone /mnt/first /mnt/second /mnt/linked; do
    say "name $path" "$(count $ROOM/writes "\"file\":\"$path\"")"
done
say names-deleted "$(grep -F '"file_deleted":true' $ROOM/writes | grep -o '"file":"[^"]*"')"
say names-odd "$(grep -F odd- $ROOM/writes | grep -o '"file":"[^"]*","file_bytes":"[^"]*"')"
odio-trace run -- sh -c 'echo x >"$odd"' >$ROOM/table 2>&1
say names-escapes "$(grep -c "$(printf '\033')" $ROOM/table)"

# What the command is given.
echo 'me:x:1000:1000::/:/bin/sh' >>/etc/passwd
echo 'extra:x:2000:me' >>/etc/group
chmod 777 /mnt
given() {
    name=$1
    shift
    "$@" -- sh -c 'id -u; id -g; id -G; grep -h -E "^(Cap(Inh|Prm|Eff|Amb)|SigBlk)" /proc/self/status; ls /proc/$$/fd' \
        >"$ROOM/$name" 2>$ROOM/$name.err
    say "$name-status" $?
    say "$name" "$(grep -v -e '"type"' -e '^ *$' "$ROOM/$name" | tr '\n\t' '  ')"
}
export SUDO_UID=1000 SUDO_GID=1000 SUDO_USER=me
given sudo odio-trace run --json
given root odio-trace run --json --as-root
unset SUDO_UID SUDO_GID SUDO_USER
# Not by way of a shell: busybox's blocks nothing for what it starts.
env --block-signal=USR1 odio-trace run --json -- grep SigBlk /proc/self/status >$ROOM/mask
say mask "$(grep SigBlk $ROOM/mask | tr '\t' ' ')"

# As another user than root, with no more than is needed.
capable() {
    caps=$1
    shift
    setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps "-all,$caps" --ambient-caps "-all,$caps" "$@"
}
least() {
    name=$1
    capable "$2" odio-trace run --json -- sh -c 'dd if=/dev/zero of=least bs=4k count=3 oflag=direct 2>/dev/null
        grep CapAmb /proc/$$/status' >"$ROOM/$name" 2>"$ROOM/$name.err"
    say "$name-status" $?
    say "$name-writes" "$(writes "$name" least)"
    say "$name-given" "$(grep CapAmb "$ROOM/$name" | tr -d '\t')"
    say "$name-missing" "$(tail -n 1 "$ROOM/$name" | grep -o '"hook":"[a-z-]*","why"' | sort -u | tr '\n' ' ')"
    say "$name-message" "$(tr '\n' ' ' <"$ROOM/$name.err")"
}
echo 2 >/proc/sys/kernel/perf_event_paranoid
least enough +bpf,+perfmon,+syslog
least no-syslog +bpf,+perfmon
least no-perfmon +bpf,+syslog
echo 3 >/proc/sys/kernel/perf_event_paranoid
least paranoid +bpf,+perfmon,+syslog

# What the kernel lists of eBPF, before, while and after a tracer that gets no chance to clean up.
nothing_left() {
    [ "$("$1")" = "$before" ]
}
before=$("$1")
say bpf-before "$before"
attach killed --comm nobody
say bpf-attached "$("$1")"
kill -KILL $tracer
wait $tracer
until_true nothing_left "$1"
say bpf-left "$("$1")"
