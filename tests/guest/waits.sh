# What requests do inside fs/direct-io.c, for a kernel that shows where it waits (scripts/kernel). Goes after truth.sh;
# the first argument is the function of the filesystem that ends an fsync.

count_with_tracefs "$1"
# Events of one thread in the order in which they happened, whichever processor it ran on.
echo counter >$COUNT/trace_clock || exit 96
{
    echo 'p:truth/write_iter generic_file_write_iter comm=$comm'
    echo 'p:truth/direct_io __blockdev_direct_IO comm=$comm'
    echo 'r:truth/direct_io_return __blockdev_direct_IO comm=$comm ret=$retval:s64'
    echo 'p:truth/dio_await dio_await_completion comm=$comm'
    echo 'p:truth/dio_work dio_aio_complete_work comm=$comm'
} >>$TRACING/kprobe_events || exit 96
echo 1 >$COUNT/events/truth/enable || exit 96
# What a worker then writes, it writes for a request.
echo 0 >/proc/sys/vm/dirty_writeback_centisecs || exit 96
