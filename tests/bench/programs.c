/*
 * Prints `program NAME ID RUNS NANOSECONDS` for each eBPF program that has run while kernel.bpf_stats_enabled was 1.
 *
 * Where the clock counts instructions, the nanoseconds are instructions. What the kernel does to get into a program and
 * out of it is not in them; the reading of its clock is.
 */
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static long bpf(int command, union bpf_attr *attr)
{
    return syscall(SYS_bpf, command, attr, sizeof *attr);
}

int main(void)
{
    unsigned id = 0;
    for (;;) {
        union bpf_attr attr;
        memset(&attr, 0, sizeof attr);
        attr.start_id = id;
        if (bpf(BPF_PROG_GET_NEXT_ID, &attr) != 0)
            return 0;
        id = attr.next_id;
        memset(&attr, 0, sizeof attr);
        attr.prog_id = id;
        int program = (int)bpf(BPF_PROG_GET_FD_BY_ID, &attr);
        /* It may have gone meanwhile. */
        if (program < 0)
            continue;
        struct bpf_prog_info info;
        memset(&info, 0, sizeof info);
        memset(&attr, 0, sizeof attr);
        attr.info.bpf_fd = (unsigned)program;
        attr.info.info_len = sizeof info;
        attr.info.info = (unsigned long)&info;
        if (bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) == 0 && info.run_cnt > 0)
            printf("program %s %u %llu %llu\n", info.name, id, (unsigned long long)info.run_cnt,
                   (unsigned long long)info.run_time_ns);
        close(program);
    }
}
