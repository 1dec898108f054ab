# verify.sh: what goes wrong, what is written back, recordings, and the other forms. Goes on where policies.sh ends.

verify log-short write-ahead-log -- dd if=/dev/zero of=a.wal bs=8k count=7 conv=notrunc oflag=direct,dsync
verify log-lost write-ahead-log --ring-bytes 4096 -- $(log direct,dsync)
verify log-failed write-ahead-log -- sh -c "$(log direct,dsync); exit 7"
verify log-left write-ahead-log -- sh -c "(setsid sleep 100 >/dev/null 2>&1 &); $(log direct,dsync)"
verify pages-waited page-store -- $(pages --direct=1 --ioengine=psync)

grep -c '<testcase' $room/junit | sed 's/^/junit-cases /'

# What a worker sends, or an fsync, or direct I/O before it goes past the page cache.
cat >$room/unwritten.toml <<'EOF'
[[rule]]
name = "nothing of the log is written back"
file = "*.wal"
no_writeback = true
EOF
unwritten() {
    name=$1
    shift
    odio-trace verify --policy $room/unwritten.toml "$@" >$room/out 2>$room/said
    echo "$name $? $(tail -n 1 $room/out)"
    sed "s/^/$name: /" $room/out
}
unwritten past -- sh -c "$(log direct,dsync); dd if=/dev/zero of=other bs=8k count=5 conv=fsync"
unwritten fsynced -- sh -c "$(log direct,dsync); dd if=/dev/zero of=a.wal bs=8k count=5 conv=notrunc,fsync"
unwritten flushed -- sh -c "dd if=/dev/zero of=a.wal bs=8k count=23 conv=notrunc; $(log direct)"
odio-trace run --record $room/fsynced -- dd if=/dev/zero of=a.wal bs=8k count=5 conv=notrunc,fsync >/dev/null 2>&1
unwritten replay-fsynced --recording $room/fsynced
odio-trace report --json $room/fsynced | grep -c '"type":"writeback".*"file":"/mnt/a.wal"' | sed 's/^/report-writeback /'
odio-trace run --record $room/failed -- sh -c "$(log direct,dsync); exit 7" >/dev/null 2>&1
unwritten replay-failed --recording $room/failed

# A recording is judged without privilege.
odio-trace run --record $room/log -- $(log direct,dsync) >/dev/null 2>&1
odio-trace run --op read --record $room/filtered -- $(log direct,dsync) >/dev/null 2>&1
chmod 644 $room/log $room/filtered
replay() {
    out=$(setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all \
        odio-trace verify --policy "$policies/$2.toml" --recording "$room/$3" 2>$room/said)
    echo "$1 $? $(echo "$out" | tail -n 1)"
}
replay replay-kept write-ahead-log log
replay replay-other page-store log
replay replay-filtered write-ahead-log filtered

# The other forms, of a recording: each alone on standard output, or in a file beside the text.
form() {
    name=$1
    shift
    odio-trace verify --policy "$policies/page-store.toml" --recording $room/log "$@" >$room/out 2>$room/said
    echo "$name $? $(tail -n 1 $room/out)"
    sed "s/^/$name-out: /" $room/out
    sed "s/^/$name-said: /" $room/said
}
form sarif --sarif - --github
form junit --junit -
form both --junit - --sarif -
form github --github --sarif $room/sarif
grep -c '"ruleId"' $room/sarif | sed 's/^/sarif-results /'
# A file that cannot be written when the verdicts are there.
out=$( (trap '' XFSZ; ulimit -f 0; odio-trace verify --policy "$policies/page-store.toml" --recording $room/log --sarif \
    $room/full) 2>&1)
echo "unwritten $? $(echo "$out" | tail -n 1)"

echo '[[rule' >$room/bad.toml
odio-trace verify --policy $room/bad.toml -- true 2>$room/said
echo "usage $? $(cat $room/said)"

# A kernel that does not describe its types.
mount -o bind /dev/null /sys/kernel/btf/vmlinux
odio-trace verify --policy "$policies/page-store.toml" -- true >$room/out 2>$room/said
echo "no-btf $? $(cat $room/said)"
umount /sys/kernel/btf/vmlinux
