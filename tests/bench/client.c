/* The clients: each kind of work, with every byte of what comes back checked. */
#include "load.h"

static int port, poller;
typedef struct { double *values; size_t n, room; } Set;
static Set sets[2];
static const char *const PREFIX[] = {"", "tick_"};

static int dial(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {PATIENCE, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || fd >= MAX_FDS || connect(fd, (void *)&at, sizeof at)) die("connect: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    set_up(fd);
    return fd;
}

void say(int fd, const void *bytes, size_t n) {
    if (send(fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n) die("send: %s", strerror(errno));
}

size_t hear(int fd, void *into, size_t size) {
    ssize_t n;
    do n = recv(fd, into, size, 0); while (n < 0 && errno == EINTR);
    if (n < 0) die("recv: %s", errno == EAGAIN ? "no answer in 20 s" : strerror(errno));
    if (n == 0) die("recv: end of stream, an answer was due");
    return n;
}

/* Whoever is stopped and continues is told EINTR. */
int await(int poller, struct epoll_event *ready, int room) {
    int n;
    do n = epoll_wait(poller, ready, room, PATIENCE * 1000); while (n < 0 && errno == EINTR);
    if (n <= 0) die("nothing came in 20 s");
    return n;
}

static void expect(int fd, const Message *m) {
    unsigned char got[HOLD];
    for (size_t have = 0; have < m->len;) {
        size_t n = hear(fd, got + have, m->len - have);
        if (memcmp(got + have, m->bytes + have, n)) die("wrong bytes in an answer of %zu bytes", m->len);
        have += n;
    }
}

int open_session(void) {
    int fd = dial();
    say(fd, CLIENT_HELLO, CLIENT_HELLO_LEN);
    expect(fd, &server_hello);
    say(fd, start_api.bytes, start_api.len);
    expect(fd, &accounts);
    expect(fd, &next_valid_id);
    return fd;
}

/* The orderly end: our FIN goes through, the gateway's FIN comes back, and not a byte before it. */
void close_session(int fd) {
    unsigned char byte;
    shutdown(fd, SHUT_WR);
    if (recv(fd, &byte, 1, 0) != 0) die("session did not end clean: %s", errno ? strerror(errno) : "bytes too many");
    close(fd);
}

static void exchange(int fd, uint64_t number) {
    say(fd, request.bytes, request.len);
    set_number(&times.m[0], number);
    expect(fd, &times.m[0]);
}

static void wait_for_line(void) {
    char line[64];
    if (!fgets(line, sizeof line, stdin)) exit(2);
}

double begin(void) {
    puts("ready");
    fflush(stdout);
    wait_for_line();
    return seconds();
}

static int by_value(const void *a, const void *b) {
    double x = *(double *)a, y = *(double *)b;
    return (x > y) - (x < y);
}

void sample(int set, double value) {
    Set *s = &sets[set];
    if (s->n == s->room) s->values = realloc(s->values, sizeof *s->values * (s->room = s->room ? 2 * s->room : 65536));
    s->values[s->n++] = value;
}

void result(double took, double count, double bytes) {
    printf("seconds=%.9f count=%.0f bytes=%.0f", took, count, bytes);
    for (int i = 0; i < 2; i++) {
        double *v = sets[i].values;
        size_t n = sets[i].n;
        if (!n) continue;
        qsort(v, n, sizeof *v, by_value);
        printf(" %sp50=%.9f", PREFIX[i], v[n / 2]);
        printf(" %sp99=%.9f %sp999=%.9f", PREFIX[i], v[n * 99 / 100], PREFIX[i], v[n * 999 / 1000]);
    }
    puts("");
    fflush(stdout);
    wait_for_line();
}

/* Send a stream and one time request behind it; its answer counts the frames the gateway has checked. */
static void up(Kind *kind, uint64_t count, int burst) {
    static Outflow o;
    int fd = open_session();
    double start = begin();
    o = (Outflow){.c = {kind, 0, count, 0}, .burst = burst};
    while (o.c.next < count || o.batch_off < o.batch_len)
        if (pump(&o, fd, 1024) < 0) die("send: %s", errno == EAGAIN ? "blocked for 20 s" : strerror(errno));
    exchange(fd, count + 1);
    double bytes = 0;
    for (int i = 0; i < kind->n; i++) bytes += (double)kind->m[i].len * count / kind->n;
    result(seconds() - start, count, bytes);
    close_session(fd);
}

static void down(Kind *kind, uint64_t count, const char *ask) {
    static unsigned char chunk[CHUNK];
    int fd = open_session();
    Message m = message(ask, 0);
    double start = begin(), bytes = 0;
    Cursor in = {kind, 0, count, 0};
    say(fd, m.bytes, m.len);
    while (in.next < count) {
        size_t n = hear(fd, chunk, CHUNK);
        if (!continues(&in, chunk, n)) die("wrong bytes near message %llu", (unsigned long long)in.next);
        bytes += n;
    }
    result(seconds() - start, count, bytes);
    close_session(fd);
}

static void bulk_up(long count, long size) { set_order_size(size), up(&orders, count, 1); }
static void stream_up(long count, long burst) { up(&cancels, count, burst); }

static void bulk_down(long count, long size) {
    char ask[64];
    snprintf(ask, sizeof ask, "20|%ld|%ld|", count, size);
    set_bar_size(size);
    down(&bars, count, ask);
}

static void stream_down(long count, long burst) {
    char ask[64];
    snprintf(ask, sizeof ask, "1|11|%ld|%ld|", count, burst);
    down(&ticks, count, ask);
}

static void round_trips(long count, long warm_up) {
    int fd = open_session();
    long k = 0;
    while (k < warm_up) exchange(fd, ++k);
    double start = begin(), last = start;
    for (long i = 0; i < count; i++) {
        exchange(fd, ++k);
        double now = seconds();
        sample(0, now - last), last = now;
    }
    result(last - start, count, 0);
    close_session(fd);
}

static void fan_out(long count, long parallel) {
    struct { Cursor in; double asked; } s[MAX_FDS];
    struct epoll_event ready[256];
    unsigned char got[HOLD];
    long each = count / parallel, left = each * parallel;
    int fds[MAX_FDS];
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (long i = 0; i < parallel; i++) {
        int fd = fds[i] = open_session();
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
        s[fd].in = (Cursor){&times, 1, each + 1, 0};
    }
    double start = begin(), now = start;
    for (long i = 0; i < parallel; i++) s[fds[i]].asked = start, say(fds[i], request.bytes, request.len);
    while (left) {
        int n = await(poller, ready, 256);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            size_t have = hear(fd, got, sizeof got);
            uint64_t before = s[fd].in.next;
            if (!continues(&s[fd].in, got, have)) die("wrong bytes in an answer");
            if (s[fd].in.next == before) continue;
            now = seconds();
            sample(0, now - s[fd].asked), left--;
            if (s[fd].in.next < s[fd].in.end) s[fd].asked = now, say(fd, request.bytes, request.len);
        }
    }
    result(now - start, each * parallel, 0);
    for (long i = 0; i < parallel; i++) close_session(fds[i]);
}

/* Whole lives of connections, `parallel` at a time: connect, hello, server hello, FIN there, FIN back. */
static void connections(long count, long parallel) {
    struct { size_t have; double since; } s[MAX_FDS];
    struct epoll_event ready[256];
    unsigned char got[HOLD];
    long begun = 0, done = 0;
    poller = epoll_create1(EPOLL_CLOEXEC);
    double start = begin(), now = start;
    while (done < count) {
        while (begun < count && begun - done < parallel) {
            now = seconds();
            int fd = dial();
            struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
            epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
            s[fd].have = 0, s[fd].since = now, begun++;
            say(fd, CLIENT_HELLO, CLIENT_HELLO_LEN);
        }
        int n = await(poller, ready, 256);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (s[fd].have == server_hello.len) {
                if (recv(fd, got, 1, 0) != 0) die("connection did not end clean");
                close(fd);
                now = seconds();
                sample(0, now - s[fd].since), done++;
                continue;
            }
            size_t have = hear(fd, got, server_hello.len - s[fd].have);
            if (memcmp(got, server_hello.bytes + s[fd].have, have)) die("wrong bytes in the server hello");
            s[fd].have += have;
            if (s[fd].have == server_hello.len) shutdown(fd, SHUT_WR);
        }
    }
    result(now - start, count, 0);
}

static void idle(long count, long unused) {
    int fds[MAX_FDS];
    (void)unused;
    for (long i = 0; i < count; i++) fds[i] = open_session();
    begin();
    for (long i = 0; i < count; i++) exchange(fds[i], 1);   /* idle is not dead */
    result(0, count, 0);
    for (long i = 0; i < count; i++) close_session(fds[i]);
}

static void ticking(long count, long rate) {
    if (rate < 1) die("ticking: rate out of range");
    live(1, count, 1000000 / rate, 0, 0, 0);
}

/* 8 sessions, each with 200 ticks and 5 requests a second, all of them at irregular times. */
static void day(long ms, long seed) {
    live(8, (ms * 200 + 999) / 1000, 1000000 / 200, (ms * 5 + 999) / 1000, 1000000 / 5, seed + 1);
}

static const struct { const char *name; void (*run)(long count, long a); } WHAT[] = {
    {"bulk_up", bulk_up},           /* COUNT frames of A bytes client to gateway */
    {"bulk_down", bulk_down},       /* the same, gateway to client */
    {"stream_up", stream_up},       /* COUNT small messages client to gateway, A per write */
    {"stream_down", stream_down},   /* COUNT ticks gateway to client, A per write */
    {"round_trips", round_trips},   /* COUNT request/answer pairs on one session, after A more to warm up */
    {"fan_out", fan_out},           /* COUNT of them in all, over A sessions at once */
    {"connections", connections},   /* COUNT connections from connect to both FINs, A at a time */
    {"idle", idle},                 /* COUNT sessions that say nothing */
    {"ticking", ticking},           /* one session, COUNT ticks down, A a second, evenly */
    {"day", day},                   /* COUNT milliseconds of a trading day, A is its seed */
};

int run_client(char **argv) {
    port = atoi(argv[0]);
    long count = atol(argv[2]), a = atol(argv[3]);
    if (count < 1 || a < 0 || count > 1000000000) die("count or parameter out of range");
    alarm(LIFETIME);
    for (size_t i = 0; i < sizeof WHAT / sizeof *WHAT; i++)
        if (!strcmp(argv[1], WHAT[i].name)) return WHAT[i].run(count, a), 0;
    die("no such work: %s", argv[1]);
    return 1;
}
