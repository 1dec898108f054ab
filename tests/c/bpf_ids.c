/* Counts what the kernel lists of eBPF: prints PROGRAMS MAPS LINKS. */
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static long count(int command)
{
    union bpf_attr attr;
    long n = 0;

    memset(&attr, 0, sizeof attr);
    while (syscall(SYS_bpf, command, &attr, sizeof attr) == 0) {
        n++;
        attr.start_id = attr.next_id;
    }
    return errno == ENOENT ? n : -1;
}

int main(void)
{
    long programs = count(BPF_PROG_GET_NEXT_ID);
    long maps = count(BPF_MAP_GET_NEXT_ID);
    long links = count(BPF_LINK_GET_NEXT_ID);

    printf("%ld %ld %ld\n", programs, maps, links);
    return programs < 0 || maps < 0 || links < 0;
}
