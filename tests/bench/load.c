/* Load generator and gateway in one program: real IB API framing, every byte checked at the far end.
 *
 *   load exec CPUS NICE COMMAND...       run COMMAND on CPUS ("0,2"; "-" = any), with a nice value if that is allowed
 *                                        ("-" = the caller's), and end it with the parent
 *   load server                          a gateway on 127.0.0.1; prints "port N"; ends when its stdin does
 *   load client PORT WHAT COUNT A        WHAT and A: see the end of client.c; speaks through whatever is at PORT
 *
 * A session starts as a real one does: `API\0` and a version range, a server hello (176), START_API, MANAGED_ACCTS and
 * NEXT_VALID_ID; then length-prefixed frames with text ids. All streams are made of numbered messages: the number is
 * ten digits inside each message, so that loss, repetition, reordering and corruption all differ from what the receiver
 * expects. A receiver that sees a wrong byte says so on stderr; the client exits 1, the server resets the connection.
 *
 * The client prints "ready" when its sessions stand, waits for a line, works, prints "name=value ..." and waits for
 * another line before it closes: between those lines the caller reads CPU times and memory of living processes.
 */
#include "load.h"

void die(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    exit(1);
}

uint64_t nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

double seconds(void) { return nanoseconds() * 1e-9; }

static int run_pinned(char **argv) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (char *cpu = strtok(argv[0], ","); cpu && *cpu != '-'; cpu = strtok(NULL, ",")) CPU_SET(atoi(cpu), &set);
    if (CPU_COUNT(&set) && sched_setaffinity(0, sizeof set, &set)) die("pinning: %s", strerror(errno));
    if (strcmp(argv[1], "-")) setpriority(PRIO_PROCESS, 0, atoi(argv[1]));
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvp(argv[2], argv + 2);
    die("%s: %s", argv[2], strerror(errno));
    return 1;
}

int main(int argc, char **argv) {
    make_messages();
    if (argc >= 5 && !strcmp(argv[1], "exec")) return run_pinned(argv + 2);
    if (argc == 2 && !strcmp(argv[1], "server")) return run_server();
    if (argc == 6 && !strcmp(argv[1], "client")) return run_client(argv + 2);
    fputs("usage: load exec CPUS NICE COMMAND... | server | client PORT WHAT COUNT A\n", stderr);
    return 2;
}
