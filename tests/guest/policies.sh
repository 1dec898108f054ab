# policies.sh POLICIES: each policy with a workload that keeps it and some that break it. Prints `CASE STATUS LAST-LINE`.

policies=$1
room=/tmp/verify
mkdir $room
chmod 777 . $room

# verify CASE POLICY ARGUMENTS...
verify() {
    name=$1 policy=$2
    shift 2
    odio-trace verify --policy "$policies/$policy.toml" "$@" >$room/out 2>$room/said
    echo "$name $? $(tail -n 1 $room/out)"
}

# Blocks that were written and committed before.
prepared() {
    dd if=/dev/zero of="$1" bs="$2" count="$3" conv=fsync 2>/dev/null
}

log() { echo dd if=/dev/zero of=a.wal bs=8k count=23 conv=notrunc "oflag=$1"; }
pages() {
    echo fio --name=p --filename=a.pages --size=1m --bs=4k --rw=randwrite --number_ios=127 --fsync=16 --output=/dev/null \
        "$@"
}

prepared a.wal 8k 23
prepared a.pages 4k 256
prepared a.data 64k 13

verify log-kept write-ahead-log --junit $room/junit -- $(log direct,dsync)
verify log-not-durable write-ahead-log -- $(log direct)
sed 's/^/log-not-durable: /' $room/out
verify log-buffered write-ahead-log -- $(log dsync)
verify pages-kept page-store -- $(pages --direct=1 --ioengine=libaio --iodepth=8)
verify pages-buffered page-store -- $(pages --direct=0 --ioengine=libaio --iodepth=8)
verify backup-kept backup-reader -- dd if=a.data of=/dev/null bs=64k iflag=direct
verify backup-buffered backup-reader -- dd if=a.data of=/dev/null bs=64k
